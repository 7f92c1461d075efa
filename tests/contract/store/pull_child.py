"""A process that pulls the tiny model and says what it is told: one JSON line per notice, the digest at the end."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tests.fixtures.hub import make_model

from localfirst.errors import LfError
from localfirst.store.pull import pull

if TYPE_CHECKING:
    from localfirst.types import Progress


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def report(step: Progress) -> None:
    if "notice" in step.detail:
        say(notice=step.detail["notice"])
    elif step.done:
        say(done=step.done)


try:
    say(sha256=pull(*make_model("org/model", "model.gguf"), report=report).files[0].sha256)
except LfError as error:
    say(error=error.code, detail=error.detail)
