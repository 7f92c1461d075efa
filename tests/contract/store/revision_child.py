"""Updates and goes back over and over, killed before each of its steps on the disk; counts what was current then.

    python -m tests.contract.store.revision_child FOLDER OLD_COMMIT NEW_COMMIT

Forks, so that it is a process of its own without threads.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fixtures.hub import make_model

from localfirst.store import manifest, pull, revisions
from localfirst.store.net.hub import read_listing
from localfirst.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from localfirst.types import InstalledModel

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.listdir"}


def fetch(commit: str) -> InstalledModel:
    model, variant = make_model("org/model", "model.gguf", "config.json")
    return pull.fetch(model, variant, listing=read_listing("org/model", commit))


def find_current() -> InstalledModel:
    found = manifest.find("tiny")
    assert found is not None
    return found


def kill_at(step: int, home: str) -> None:
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and str(arguments[0]).startswith(home):
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def try_every_step(job: Callable[[], object], home: Path, start: Path, old: str) -> dict[str, Any]:
    counts: dict[str, Any] = {"old": 0, "new": 0, "bad": []}
    for step in range(2000):
        shutil.rmtree(home)
        shutil.copytree(start, home)
        child = os.fork()
        if child == 0:
            kill_at(step, str(home))
            job()
            os._exit(0)
        killed = os.waitpid(child, 0)[1] != 0
        current = find_current()
        counts["old" if current.revision == old else "new"] += 1
        problems = [problem for model in manifest.find_all() for problem in verify(model)]
        job()  # and the same command again ends where it should
        if problems or revisions.find_damage():
            counts["bad"].append(step)
        if not killed:
            return counts
    raise AssertionError("it never ended")


folder, before, after = Path(sys.argv[1]), *sys.argv[2:]
home = Path(os.environ["LF_HOME"])
fetch(before)
one = shutil.copytree(home, folder / "one")
fetch(after)
two = shutil.copytree(home, folder / "two")
found = {
    "update": try_every_step(lambda: fetch(after), home, one, before),
    "rollback": try_every_step(
        lambda: revisions.roll_back(find_current(), manifest.find_all(), before), home, two, before
    ),
}
sys.stdout.write(json.dumps(found))
