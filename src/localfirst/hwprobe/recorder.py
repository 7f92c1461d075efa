"""Writes down what a probe reads, so that `ReplayHost` can answer for this machine elsewhere, without what is private.

A name is replaced alike everywhere, in paths as in texts, so that what refers to each other still does.
"""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst.hwprobe.host import Completed, Host
from localfirst.hwprobe.probe import probe
from localfirst.hwprobe.record import SCHEMA
from localfirst.hwprobe.windows import VALUE_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_PRIVATE = (
    (re.compile(r"[0-9a-fA-F]{8}(?:[-_][0-9a-fA-F]{4}){3}[-_][0-9a-fA-F]{12}"), "00000000-0000-0000-0000-000000000000"),
    (re.compile(r"\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}\b"), "00:00:00:00:00:00"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "0" * 32),
    (re.compile(r"(?im)^(serial(?: number)?\s*:\s*).*$"), r"\g<1>0"),
    (re.compile(r"(/home/|/Users/)[^/\s\"]+"), r"\g<1>user"),
    (re.compile(r"(\\Users\\)[^\\\"\n]+"), r"\g<1>user"),
    (re.compile(r"\buser-\d+\b"), "user-1000"),
    (re.compile(r"\buser@\d+\b"), "user@1000"),
)
"""UUIDs, MAC addresses, container and machine ids, serial numbers (a Raspberry Pi has one in /proc/cpuinfo), home
folders, and numbers of users in the names of control groups."""


_COMMON = frozenset(
    {
        *("", "root", "localhost", "user", "admin", "ubuntu", "debian", "linux", "windows", "home", "node", "system"),
        *("cpu", "gpu", "npu", "nvidia", "amd", "intel", "apple", "memory", "devices", "driver", "class", "kernel"),
        *("name", "version", "query", "format", "csv", "proc", "sys", "dev", "card", "video", "display", "service"),
    }
)
"""Names that tell nobody who this is and stand in what the probe reads: replaced there, they would spoil a record."""


class RecordingHost(Host):
    """This machine, remembering every answer that is not nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._commands: dict[str, dict[str, Any]] = {}
        self._registry: dict[str, Any] = {}
        self._sysctl: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._disk_free_bytes: int | None = None

    def to_record(self) -> dict[str, Any]:
        """What was asked so far, as a record of schema `lf.machine-record/1`."""
        return {
            "schema": SCHEMA,
            "platform": self.platform,
            "machine": self.machine,
            "files": self._files,
            "links": self._links,
            "commands": self._commands,
            "registry": self._registry,
            "sysctl": self._sysctl,
            "values": self._values,
            "disk_free_bytes": self._disk_free_bytes,
        }

    def read(self, path: str) -> str | None:
        """As the machine answers."""
        text = super().read(path)
        if text is not None:
            self._files[path] = text
        return text

    def glob(self, pattern: str) -> tuple[str, ...]:
        """As the machine answers."""
        paths = super().glob(pattern)
        for path in paths:
            self._note(path)
        return paths

    def exists(self, path: str) -> bool:
        """As the machine answers."""
        found = super().exists(path)
        if found:
            self._note(path)
        return found

    def link(self, path: str) -> str | None:
        """As the machine answers."""
        target = super().link(path)
        if target is not None:
            self._links[path] = target
        return target

    def run(self, argv: Sequence[str]) -> Completed | None:
        """As the machine answers."""
        done = super().run(argv)
        if done is not None:
            self._commands[" ".join(argv)] = {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        return done

    def registry(self, class_guid: str) -> Mapping[str, Mapping[str, object]]:
        """As the machine answers."""
        subkeys = super().registry(class_guid)
        if subkeys:
            self._registry[class_guid] = {
                subkey: {name: _encode(values[name]) for name in VALUE_NAMES if _is_plain(values.get(name))}
                for subkey, values in subkeys.items()
            }
        return subkeys

    def sysctl(self, name: str) -> str | None:
        """As the machine answers."""
        value = super().sysctl(name)
        if value is not None:
            self._sysctl[name] = value
        return value

    def value(self, name: str) -> object | None:
        """As the machine answers."""
        value = super().value(name)
        if value is not None:
            self._values[name] = value
        return value

    def disk_free_bytes(self, path: str) -> int | None:
        """As the machine answers."""
        self._disk_free_bytes = super().disk_free_bytes(path)
        return self._disk_free_bytes

    def _note(self, path: str) -> None:
        """Something is at this path; what is in it was not asked, or not yet."""
        if path not in self._links:
            self._files.setdefault(path, "")


def record_machine() -> dict[str, Any]:
    """This machine as a record, without what is private."""
    host = RecordingHost()
    probe(host)
    scrubbed = scrub(host.to_record(), find_private_names())
    return {**scrubbed, "comment": "Recorded by `lf doctor --record`; names, serial numbers and ids are replaced."}


def find_private_names() -> frozenset[str]:
    """Words that tell who this is: the user, the home folder and this computer's name."""
    names = {Path.home().name, socket.gethostname(), socket.gethostname().partition(".")[0]}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name has none to hide
        names.add(getpass.getuser())
    return frozenset(name for name in names if name.lower() not in _COMMON)


def scrub(value: Any, names: Collection[str]) -> Any:
    """A record, or a part of one, with all that is private replaced, in keys as in texts."""
    if isinstance(value, str):
        return _scrub_text(value, names)
    if isinstance(value, dict):
        return {scrub(key, names): scrub(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [scrub(item, names) for item in value]
    return value


def _scrub_text(text: str, names: Collection[str]) -> str:
    for pattern, replacement in _PRIVATE:
        text = pattern.sub(replacement, text)
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 1:
            text = re.sub(rf"(?i)(?<![^\W_]){re.escape(name)}(?![^\W_])", "private", text)
    return text


def _is_plain(value: object) -> bool:
    """Whether a record holds such a registry value; the probe reads no list of texts."""
    return isinstance(value, str | int | bytes)


def _encode(value: object) -> object:
    """A registry value as JSON holds it."""
    return {"hex": value.hex()} if isinstance(value, bytes) else value
