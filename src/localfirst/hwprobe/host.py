"""Where facts come from: this machine (`Host`) or a recorded one (`ReplayHost`).

Whatever is missing, forbidden or too slow reads as nothing (`None` or empty); no method raises.
What a fact means is not decided here.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.hwprobe.record import check_record, decode_registry, parse_record
from localfirst.inheritance import inherit

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

if sys.platform == "darwin":
    from localfirst.hwprobe import macos_api as api
elif sys.platform == "win32":
    from localfirst.hwprobe import windows_api as api
else:
    from localfirst.hwprobe import posix_api as api

_MAX_FILE_BYTES = 4 << 20
"""`/proc/cpuinfo` of a machine with 1,024 processors is about 1.5 MB."""


class Completed(NamedTuple):
    """What a command answered. `returncode` is `None` when it did not end in time and was killed."""

    returncode: int | None
    stdout: str
    stderr: str


class Host:
    """The machine that this process runs on."""

    def __init__(self, *, timeout_s: float = 5.0) -> None:
        self.platform = sys.platform
        self.machine = api.machine()
        self._timeout_s = timeout_s

    def read(self, path: str) -> str | None:
        """The text of a file; bytes that are no UTF-8 become U+FFFD."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib would triple the cost of a read from /proc
                return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The paths that match, sorted; `*` does not cross a `/`."""
        return tuple(sorted(glob.glob(pattern)))  # noqa: PTH207 - see read()

    def exists(self, path: str) -> bool:
        """Whether there is anything at the path."""
        return os.path.exists(path)  # noqa: PTH110 - see read()

    def link(self, path: str) -> str | None:
        """What a symbolic link points at, as written."""
        try:
            return os.readlink(path)  # noqa: PTH115 - see read()
        except (OSError, ValueError):
            return None

    def run(self, argv: Sequence[str]) -> Completed | None:
        """A command's answer in the C locale; `None` where there is no such command."""
        import subprocess  # noqa: PLC0415 - 6 ms that a machine without device tools never pays

        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=inherit(os.environ) | {"LC_ALL": "C"},
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError):
            return None
        try:
            stdout, stderr = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _abandon(process)
            return Completed(None, "", "")
        return Completed(process.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))

    def has_recorded(self, command: str) -> bool:  # noqa: ARG002 - a real machine has no recorded answers
        """Whether the answer of a command is at hand, so that asking starts no process."""
        return False

    def registry(self, class_guid: str) -> Mapping[str, Mapping[str, object]]:
        """Windows: the values of a device class's numbered subkeys."""
        return api.registry(class_guid)

    def sysctl(self, name: str) -> str | None:
        """macOS: a `sysctl` value as text."""
        return api.sysctl(name)

    def value(self, name: str) -> object | None:
        """What only an API of the system tells, by the names of the recorded-machine format."""
        ask = api.VALUES.get(name)
        return ask() if ask else None

    def disk_free_bytes(self, path: str) -> int | None:
        """Free bytes for this user on the disk that holds the path or, before it is made, its nearest parent."""
        while not os.path.exists(path):  # noqa: PTH110 - see read()
            parent = os.path.dirname(path)  # noqa: PTH120 - see read()
            if parent == path:
                return None
            path = parent
        return api.disk_free_bytes(path)


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """Kill a command that is too slow, with its children, and wait no longer for it.

    `subprocess.run` would wait for ever: a tool stuck in a driver call (state D) does not die of SIGKILL,
    and a grandchild may hold the pipes.
    """
    import subprocess  # noqa: PLC0415 - imported already by the caller

    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe and sys.platform != "win32":  # there, a reader thread still holds it
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)


class ReplayHost(Host):
    """A recorded machine. What is absent from the record does not exist there; nothing is read from this machine."""

    def __init__(self, record: dict[str, Any]) -> None:
        """Take a record of schema `lf.machine-record/1`.

        Raises:
            UsageError: The record is not of that schema; the detail names each mistake.
        """
        check_record(record)
        self.platform = record["platform"]
        self.machine = record["machine"]
        self._files: dict[str, str] = record.get("files", {})
        self._links: dict[str, str] = record.get("links", {})
        self._commands: dict[str, dict[str, Any]] = record.get("commands", {})
        self._registry = decode_registry(record.get("registry", {}))
        self._sysctl = {name: str(value) for name, value in record.get("sysctl", {}).items()}
        self._values: dict[str, Any] = record.get("values", {})
        self._disk_free_bytes: int | None = record.get("disk_free_bytes")
        self._paths = frozenset(path for leaf in (*self._files, *self._links) for path in _with_parents(leaf))

    def read(self, path: str) -> str | None:
        """The recorded text."""
        return self._files.get(path)

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The recorded files, links and their folders that match, sorted."""
        matches = re.compile(re.escape(pattern).replace(r"\*", "[^/]*")).fullmatch
        return tuple(sorted(path for path in self._paths if matches(path)))

    def exists(self, path: str) -> bool:
        """Whether a file or link was recorded there or below."""
        return path in self._paths

    def link(self, path: str) -> str | None:
        """The recorded target."""
        return self._links.get(path)

    def run(self, argv: Sequence[str]) -> Completed | None:
        """The recorded answer to exactly these words."""
        answer = self._commands.get(" ".join(argv))
        return Completed(answer["rc"], answer.get("stdout", ""), answer.get("stderr", "")) if answer else None

    def has_recorded(self, command: str) -> bool:
        """Whether any answer of the command was recorded."""
        return any(words.split(" ", 1)[0] == command for words in self._commands)

    def registry(self, class_guid: str) -> Mapping[str, Mapping[str, object]]:
        """The recorded subkeys."""
        return self._registry.get(class_guid, {})

    def sysctl(self, name: str) -> str | None:
        """The recorded value."""
        return self._sysctl.get(name)

    def value(self, name: str) -> object | None:
        """The recorded value."""
        return self._values.get(name)

    def disk_free_bytes(self, path: str) -> int | None:  # noqa: ARG002 - a record has one disk
        """The recorded number."""
        return self._disk_free_bytes


def load_record(text: str) -> ReplayHost:
    """The recorded machine in a JSON text.

    Raises:
        UsageError: The text is not a record of schema `lf.machine-record/1`; the detail says what is wrong.
    """
    return ReplayHost(parse_record(text))


def _with_parents(path: str) -> Iterator[str]:
    """`/a/b` -> `/a/b`, `/a`."""
    while path.strip("/"):
        yield path
        path = path.rsplit("/", 1)[0]
