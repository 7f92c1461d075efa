"""A process that changes the store and, if told so, kills itself at its n-th step on the file system.

    python -m tests.contract.store.store_child move DIR [n]
    python -m tests.contract.store.store_child remove NAME [n]

Says at the end how many steps it took.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from localfirst.store import manifest
from localfirst.store.progress import ignore
from localfirst.store.upkeep import move

STEPS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "fcntl.flock"}
steps = 0


def count(event: str, arguments: tuple[object, ...]) -> None:
    global steps  # noqa: PLW0603 (an audit hook has no other memory)
    if event in STEPS:
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


what, argument, *rest = sys.argv[1:]
kill_at = int(rest[0]) if rest else 0
sys.addaudithook(count)
if what == "move":
    move.move(Path(argument), report=ignore)
else:
    for model in manifest.find_own():
        if model.name == argument:
            manifest.remove(model)
sys.stdout.write(f"{steps}\n")
