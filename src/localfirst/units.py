"""Numbers to text, one way for the whole product. Sizes are in powers of ten, as disks and hubs count them."""

from __future__ import annotations

import re

GB = 10**9
MIB = 2**20
GIB = 2**30


def format_bytes(count: int | None) -> str:
    """`2_490_000_000` -> `2.49 GB`; three significant digits; `None` -> `?`."""
    if count is None:
        return "?"
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            break
        value /= 1000
    if unit == "B":
        return f"{count} B"
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)


def parse_bytes(text: str) -> int:
    """`5GB`, `5g`, `2.5 GiB`, `800 MB`, `123` -> bytes; powers of ten, or of two where it says `i`.

    Raises:
        ValueError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a size such as 5GB or 800MB: {text!r}")
    power = " kmgt".index(match[2].lower() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def format_count(count: int | None) -> str:
    """`3_840_000_000` -> `3.8B`: parameter counts as people say them; `None` -> `?`."""
    if count is None:
        return "?"
    for size, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        value = count / size
        if value >= 0.9995:
            return f"{value:.1f}{suffix}" if value < 9.95 else f"{value:.0f}{suffix}"
    return str(count)


def format_tokens(count: int | None) -> str:
    """`8192` -> `8K`, `4000` -> `4000`: context lengths, exact where they are no multiple of 1,024; `None` -> `?`."""
    if count is None:
        return "?"
    return f"{count // 1024}K" if count >= 1024 and count % 1024 == 0 else str(count)


_TOKENS = re.compile(r"(\d+(?:\.\d+)?)\s*([km]?)", re.IGNORECASE | re.ASCII)


def parse_tokens(text: str) -> int:
    """`32k`, `32K` -> 32,768; `1m` -> 1,048,576; `4096`: context lengths as model cards write them, in powers of two.

    Raises:
        ValueError: the text is no such number.
    """
    match = _TOKENS.fullmatch(text.strip())
    count = float(match[1]) * 1024 ** " km".index(match[2].lower() or " ") if match else 0.5
    if count != int(count):
        raise ValueError(f"not a number of tokens such as 8192 or 32k: {text!r}")
    return int(count)


def format_seconds(seconds: float | None) -> str:
    """`0.0123` -> `12 ms`, `3.21` -> `3.2 s`, `75` -> `1:15`, `7503` -> `2:05:03`; `None` -> `?`."""
    if seconds is None:
        return "?"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_tps(rate: float | None) -> str:
    """`21.43` -> `21.4`, `130.2` -> `130`: tokens per second without the unit; `None` -> `?`."""
    if rate is None:
        return "?"
    return f"{rate:.0f}" if rate >= 99.95 else f"{rate:.1f}"


def format_age(seconds: float) -> str:
    """`42.1` -> `42 s`, `200` -> `3 min`, `7600` -> `2 h`, `200_000` -> `2 d`: for people, the whole ones of a unit."""
    for size_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size_s:
            return f"{seconds // size_s:.0f} {unit}"
    return f"{seconds:.0f} s"


_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE | re.ASCII)
_AGE_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_age(text: str) -> float:
    """`30d`, `12h`, `45m`, `10s`, `2w` -> seconds.

    Raises:
        ValueError: the text is no such age.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not an age such as 30d, 12h or 2w: {text!r}")
    return float(match[1]) * _AGE_UNITS_S[match[2].lower()]
