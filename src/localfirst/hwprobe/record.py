"""The recorded-machine format `lf.machine-record/1`: one JSON object that holds what a probe would read. Pure.

Keys: `schema`, `platform`, `machine`; `files` {path: text}; `links` {path: target};
`commands` {words joined by one blank: {"rc": int or null when it hung, "stdout": text, "stderr": text}};
`registry` {class GUID: {subkey: {value name: text, integer, or {"hex": digits} for binary data}}};
`sysctl` {name: text or integer}; `values` {name: anything}; `disk_free_bytes`. `comment` and `source` are for people.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = "lf.machine-record/1"
PLATFORMS = ("linux", "darwin", "win32")
_MAX_MISTAKES = 10


def parse_record(text: str) -> dict[str, Any]:
    """The record in a JSON text, checked.

    Raises:
        UsageError: The text is not JSON, or not a record; the detail lists the mistakes.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError("This is not a recorded machine: it is not JSON", detail=str(error)) from error
    check_record(record)
    return cast("dict[str, Any]", record)


def check_record(record: object) -> None:
    """Check every key and type of a record.

    Raises:
        UsageError: Something is wrong; the detail has one line per mistake, the first ten of them.
    """
    if not isinstance(record, dict):
        raise UsageError(f"This is not a recorded machine: it is a JSON {_name(record)}, not an object")
    if (schema := record.get("schema")) != SCHEMA:
        raise UsageError(f"This is not a recorded machine of schema {SCHEMA}", detail=f'"schema" is {schema!r}')
    mistakes = list(_find_mistakes(record))
    if mistakes:
        raise UsageError("The recorded machine has mistakes", detail="\n".join(mistakes[:_MAX_MISTAKES]))


def decode_registry(registry: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, object]]]:
    """A checked record's registry with binary data as `bytes`, the way `winreg` returns it."""
    return {
        guid: {
            subkey: {
                name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
                for name, value in values.items()
            }
            for subkey, values in subkeys.items()
        }
        for guid, subkeys in registry.items()
    }


def _find_mistakes(record: dict[str, Any]) -> Iterator[str]:
    for key in ("platform", "machine"):
        if not isinstance(record.get(key), str):
            yield f'"{key}" is missing or no text'
    if isinstance(record.get("platform"), str) and record["platform"] not in PLATFORMS:
        yield f'"platform" is {record["platform"]!r}, not one of {", ".join(PLATFORMS)}'
    for key, value in record.items():
        if key in _PLAIN_KEYS:
            continue
        if key not in _CHECKS:
            yield f'"{key}" is not a key of this schema'
        elif key == "disk_free_bytes":
            if not _is_count(value) and value is not None:
                yield f'"{key}" is {_name(value)}, not a number of bytes'
        elif not isinstance(value, dict):
            yield f'"{key}" is {_name(value)}, not an object'
        else:
            yield from (f'"{key}": {name!r}: {wrong}' for name, item in value.items() for wrong in _CHECKS[key](item))


def _check_text(item: object) -> Iterator[str]:
    if not isinstance(item, str):
        yield f"{_name(item)}, not a text"


def _check_command(item: object) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"{_name(item)}, not an object"
        return
    if "rc" not in item or not (item["rc"] is None or (isinstance(item["rc"], int) and item["rc"] is not True)):
        yield '"rc" is missing or no integer'
    for key, value in item.items():
        if key not in {"rc", "stdout", "stderr"}:
            yield f"{key!r} is not a key of a command"
        elif key != "rc" and not isinstance(value, str):
            yield f"{key!r} is {_name(value)}, not a text"


def _check_class(item: object) -> Iterator[str]:
    subkeys = item.items() if isinstance(item, dict) else ((None, item),)
    for subkey, values in subkeys:
        if not isinstance(values, dict):
            yield f"{_name(values)}, not an object"
            continue
        for name, value in values.items():
            if not isinstance(value, str | int) and not _is_hex(value):
                yield f'{subkey}\\{name} is {_name(value)}, not a text, an integer or {{"hex": ...}}'


def _check_sysctl(item: object) -> Iterator[str]:
    if not isinstance(item, str | int):
        yield f"{_name(item)}, not a text or an integer"


def _check_nothing(item: object) -> Iterator[str]:  # noqa: ARG001 - every value may be recorded
    yield from ()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_hex(value: object) -> bool:
    if not isinstance(value, dict) or list(value) != ["hex"] or not isinstance(value["hex"], str):
        return False
    try:
        bytes.fromhex(value["hex"])
    except ValueError:
        return False
    return True


def _name(value: object) -> str:
    """What JSON calls the type of a value."""
    return _JSON_NAMES.get(type(value), "object")


_PLAIN_KEYS = frozenset({"schema", "platform", "machine", "comment", "source"})
_CHECKS: dict[str, Callable[[object], Iterator[str]]] = {
    "files": _check_text,
    "links": _check_text,
    "commands": _check_command,
    "registry": _check_class,
    "sysctl": _check_sysctl,
    "values": _check_nothing,
    "disk_free_bytes": _check_nothing,
}
_JSON_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "text",
    list: "array",
    dict: "object",
}
