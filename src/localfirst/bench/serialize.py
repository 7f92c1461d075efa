"""A bench as JSON and back. The keys are stable: programs read them, and files of others are compared with.

Each series also says what its samples say together (`summary`); that is not read back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from localfirst.bench.statistics import summarize
from localfirst.bench.values import Bench, Conditions, Contender, Load, Sample, Series, Workload
from localfirst.errors import BenchFileError
from localfirst.types import CacheType, Format, Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[object, str], Any]

SCHEMA = "lf.bench/1"
"""Keys may be added; a change of what one means makes it `lf.bench/2`."""
MOST = 2**63 - 1
"""Of what a file says, larger than anything that is measured: with it one may still reckon, and SQLite holds it."""


def to_json(bench: Bench) -> dict[str, Any]:
    """The object of `-o json`, of `export` and of the files that `--compare` takes."""
    return {
        "schema": SCHEMA,
        **bench._asdict(),
        "before": bench.before._asdict(),
        "after": bench.after._asdict(),
        "series": [_series_to_json(one) for one in bench.series],
    }


def _series_to_json(series: Series) -> dict[str, Any]:
    summary = summarize(series)
    return {
        **series._asdict(),
        "contender": series.contender._asdict(),
        "workload": {"name": series.workload.name, **series.workload._asdict()},
        "samples": [one._asdict() for one in series.samples],
        "load": series.load._asdict(),
        "summary": {
            name: value._asdict() if hasattr(value, "_asdict") else value for name, value in summary._asdict().items()
        },
    }


def parse(text: str) -> Bench:
    """The bench of a JSON text.

    Raises:
        BenchFileError: it is no such text; the message names what is wrong and where.
    """
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BenchFileError("This is no result of a bench: no JSON", detail=str(error), hint=_HOW) from error
    if not isinstance(found, dict) or "schema" not in found:
        raise BenchFileError(f'This is no result of a bench: it does not say `"schema": "{SCHEMA}"`', hint=_HOW)
    if found["schema"] != SCHEMA:
        raise BenchFileError(
            f"This is the result of a bench in another form: {found['schema']!r:.40}, and this lf reads `{SCHEMA}`",
            hint="Update lf." if str(found["schema"]).startswith("lf.bench/") else _HOW,
        )
    bench: Bench = _BENCH(found, "")
    return bench


_HOW = "`lf bench export ID -o json > FILE` writes one."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _fail(place: str, wanted: str, value: object) -> BenchFileError:
    shown = json.dumps(value)
    return BenchFileError(
        f"This is no result of a bench: `{place.lstrip('.')}` is no {wanted}",
        detail=shown if len(shown) <= 60 else f"{shown[:57]}...",
        hint=_HOW,
    )


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _fail(place, "text", value)
    return value


def _count(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise _fail(place, "whole number", value)
    return value


def _figure(value: object, place: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -MOST <= value <= MOST:
        raise _fail(place, "number", value)
    return float(value)


def _flag(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise _fail(place, "true or false", value)
    return value


def _one_of(kind: Any) -> Reader:
    known = get_args(kind)

    def read(value: object, place: str) -> str:
        if value not in known:
            raise _fail(place, f"word of {', '.join(known)}", value)
        return str(value)

    return read


def _maybe(read: Reader) -> Reader:
    return lambda value, place: None if value is None else read(value, place)


def _list(read: Reader) -> Reader:
    def read_all(value: object, place: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _fail(place, "list", value)
        return tuple(read(one, f"{place}[{number}]") for number, one in enumerate(value))

    return read_all


def _object(kind: Callable[..., Any], fields: Mapping[str, Reader]) -> Reader:
    """What reads an object into a named tuple; keys that it has not are of a later lf, and passed over."""
    defaults: Mapping[str, object] = kind._field_defaults  # type: ignore[attr-defined]  # every named tuple's

    def read(value: object, place: str) -> object:
        if not isinstance(value, dict):
            raise _fail(place, "object", value)
        missing = [name for name in fields if name not in value and name not in defaults]
        if missing:
            where = f"{place}.{missing[0]}".lstrip(".")
            raise BenchFileError(f"This is no result of a bench: `{where}` is missing", hint=_HOW)
        return kind(**{name: one(value[name], f"{place}.{name}") for name, one in fields.items() if name in value})

    return read


_WORDS, _COUNTS, _FIGURES = _maybe(_text), _maybe(_count), _maybe(_figure)

_WORKLOAD = _object(
    Workload,
    {
        "prompt_tokens": _count,
        "generated_tokens": _count,
        "depth_tokens": _count,
        "concurrency": _count,
        "scenario": _WORDS,
    },
)
_CONTENDER = _object(
    Contender,
    {
        "model": _text,
        "variant": _WORDS,
        "quantization": _WORDS,
        "format": _one_of(Format),
        "size_bytes": _COUNTS,
        "digest": _WORDS,
        "runtime": _text,
        "engine": _text,
        "engine_version": _text,
        "build": _WORDS,
        "device": _text,
        "placement": _one_of(Placement),
        "driver": _WORDS,
        "context_tokens": _COUNTS,
        "threads": _COUNTS,
        "cache": _one_of(CacheType),
        "batch_tokens": _COUNTS,
    },
)
_SAMPLE = _object(
    Sample,
    {
        "wall_s": _figure,
        "prefill_tps": _FIGURES,
        "decode_tps": _FIGURES,
        "first_token_s": _list(_figure),
        "gaps_s": _list(_figure),
        "prompt_tokens": _count,
        "cached_tokens": _count,
        "completion_tokens": _count,
        "energy_j": _FIGURES,
    },
)
_CONDITIONS = _object(
    Conditions,
    {
        "at": _text,
        "load_average": _FIGURES,
        "busy_share": _FIGURES,
        "governor": _WORDS,
        "frequency_hz": _COUNTS,
        "temperature_c": _FIGURES,
        "throttled": _maybe(_flag),
        "on_battery": _maybe(_flag),
    },
)
_SERIES = _object(
    Series,
    {
        "contender": _CONTENDER,
        "workload": _WORKLOAD,
        "samples": _list(_SAMPLE),
        "load": _object(Load, {"cold_s": _FIGURES, "warm_s": _FIGURES}),
        "peak_bytes": _COUNTS,
        "device_peak_bytes": _COUNTS,
        "bytes_per_token": _COUNTS,
        "bandwidth_bytes_per_s": _COUNTS,
        "marks": _list(_text),
    },
)
_BENCH = _object(
    Bench,
    {
        "id": _text,
        "machine": _text,
        "machine_name": _text,
        "system": _text,
        "lf_version": _text,
        "arguments": _list(_text),
        "before": _CONDITIONS,
        "after": _CONDITIONS,
        "energy_counter": _WORDS,
        "series": _list(_SERIES),
        "complete": _flag,
        "failures": _list(_text),
    },
)
