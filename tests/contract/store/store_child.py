"""A process that changes the store and, if told so, kills itself at its n-th step on the file system.

    python -m tests.contract.store.store_child move DIR [n|switch]
    python -m tests.contract.store.store_child remove NAME [n]

`switch` is the step after `store.json` was replaced for the second time. Says at the end how many steps it took.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from localfirst.store import manifest, removal
from localfirst.store.progress import ignore
from localfirst.store.upkeep import move

STEPS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "fcntl.flock"}
steps = notes = 0


def count(event: str, arguments: tuple[object, ...]) -> None:
    global steps, notes  # noqa: PLW0603 (an audit hook has no other memory)
    if event in STEPS:
        steps += 1
        if kill_at in {str(steps), "switch" if notes == 2 else ""}:
            os.kill(os.getpid(), signal.SIGKILL)
        notes += event == "os.rename" and Path(str(arguments[1])).name == "store.json"


what, argument, kill_at = (*sys.argv[1:], "0")[:3]
sys.addaudithook(count)
if what == "move":
    move.move(Path(argument), report=ignore)
else:
    for model in manifest.find_own():
        if model.name == argument:
            removal.remove(model)
sys.stdout.write(f"{steps}\n")
