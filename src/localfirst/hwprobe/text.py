"""Foreign text to values: the few parsers that several sources share. Pure."""

from __future__ import annotations

import re

MAX_NAME = 120
"""Characters kept of a name or of a quoted piece of text."""
_MAX_CPUS = 1 << 16
_INTEGER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19}")
_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*")


def parse_int(text: str) -> int:
    r"""`"4294967296\n"` or `"0x1002"` -> int, 0 or more and below 2**63.

    Raises:
        ValueError: The text is not such a number.
    """
    stripped = text.strip()
    number = int(stripped, 0 if stripped[:2] in {"0x", "0X"} else 10) if _INTEGER.fullmatch(stripped) else -1
    if not 0 <= number < 1 << 63:
        raise ValueError(f"not a number: {quote(text)}")
    return number


def parse_version(text: str) -> tuple[int, ...]:
    """`"30.0.219.1000"` -> `(30, 0, 219, 1000)`, to compare versions in order.

    Raises:
        ValueError: The text is not numbers with dots between.
    """
    if not _VERSION.fullmatch(text.strip()):
        raise ValueError(f"not a version: {quote(text)}")
    return tuple(int(part) for part in text.strip().split("."))


def parse_cpu_list(text: str) -> frozenset[int]:
    r"""`"0-3,8,10-11\n"` -> the CPU numbers; empty text is the empty set.

    Source: cpuset(7), "List format".

    Raises:
        ValueError: A part is neither a number nor a range, or names a CPU beyond 65,535.
    """
    cpus: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        first, dash, last = part.partition("-")
        low = parse_int(first)
        high = parse_int(last) if dash else low
        if not low <= high < _MAX_CPUS:
            raise ValueError(f"not a list of CPUs: {quote(text)}")
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def clean(text: str) -> str:
    """One printable line: control characters and runs of blanks become one blank, the length is bounded."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * MAX_NAME]).split())[:MAX_NAME]


def quote(text: str) -> str:
    """A short, printable quotation of text that could not be parsed, for a warning."""
    return repr(text if len(text) <= 40 else text[:40] + "...")
