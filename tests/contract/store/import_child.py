"""A process that copies a model into the store: one JSON line for each report, then one with the root or the error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import LfError
from localfirst.store.imports import import_path

if TYPE_CHECKING:
    from localfirst.types import Progress


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def report(step: Progress) -> None:
    say(done=step.done)


try:
    say(root=import_path(Path(sys.argv[1]), name="big", copy=True, report=report).root)
except LfError as error:
    say(error=error.code, detail=error.detail)
