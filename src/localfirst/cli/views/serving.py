"""A server: where it listens, what is loaded in it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from localfirst.cli.screen import line
from localfirst.cli.views.table import Column, fit, format_header, format_row
from localfirst.units import format_age, format_bytes, format_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.cli.screen import Screen
    from localfirst.server.found import Record

_LOADED = (
    Column("NAME"),
    Column("STATE"),
    Column("RUNTIME", 2),
    Column("ON", 4),
    Column("NEEDS", 1, right=True),
    Column("CONTEXT", 3, right=True),
    Column("SINCE", 6),
    Column("USED", 5),
    Column("GOES", 1),
)
_MINUTE_S = 60
SHOWN = 8
"""Names of models that a server begins with; `lf list --installed` has them all."""


class Serving(NamedTuple):
    """Where a server listens, and to whom."""

    url: str
    """As programs on this machine reach it."""
    socket: str | None
    local: bool
    everywhere: bool
    """Whether it listens at all addresses of this machine."""
    key: bool
    """Whether it answers only who shows the key that it was given."""
    made_key: str | None = None
    """One that it made, since it was given none: shown here, and nowhere again."""


def render_serving(serving: Serving, names: Sequence[str]) -> Iterator[str]:
    """What a server begins with."""
    who = "programs on this machine" if serving.local else "whoever reaches this address"
    keyed = ", by key" if serving.key or serving.made_key else ""
    more = f" and {len(names) - SHOWN} more" if names[SHOWN:] else ""
    if serving.socket:
        yield line(f"Serving your programs{keyed} at the socket {serving.socket}")
    else:
        yield f"Serving {who}{keyed}"
        yield f"  {line(serving.url)}  OpenAI's API"
        yield f"  {line(serving.url.removesuffix('/v1'))}     Anthropic's, Ollama's, and a page to chat on"
    if serving.everywhere:
        yield f"  From other machines: with this one's address in the place of {urlsplit(serving.url).hostname}"
    yield from render_made_key(serving.made_key)
    yield line(f"Models: {', '.join(names[:SHOWN])}{more}")
    yield "Ctrl-C ends it"


def render_made_key(key: str | None) -> Iterator[str]:
    """A key that was made, where one was."""
    if key is not None:
        yield f"Key: {key}"
        yield "  made for this start, shown only now; --api-key-file or LF_API_KEY sets yours"


def serving_to_json(serving: Serving, names: Sequence[str]) -> dict[str, Any]:
    """The same for programs."""
    keyed = serving.key or serving.made_key is not None
    return {**serving._asdict(), "key": keyed, "models": list(names)}


def render_loaded(record: Record | None, models: Sequence[Mapping[str, Any]], screen: Screen) -> Iterator[str]:
    """What is loaded in a server, a model a line."""
    if record is None:
        yield "No server runs here: `lf server start` starts one"
        return
    if not models:
        yield line(f"Nothing is loaded in the server at {record.place}")
        return
    now_s = time.time()
    rows = [_make_row(one, now_s) for one in models]
    widths = fit(_LOADED, rows, screen.width)
    yield screen.paint(format_header(widths), "dim")
    yield from (format_row(widths, row) for row in rows)


def _make_row(one: Mapping[str, Any], now_s: float) -> dict[str, str]:
    waiting = f", {one['waiting']} waiting" if one["waiting"] else ""
    return {
        "NAME": line(f"{one['name']}@{one['build']}"),
        "STATE": f"{one['state']}{waiting}",
        "RUNTIME": line(one["runtime"]),
        "ON": line(one["device"]),
        "NEEDS": format_bytes(one["memory_bytes"]),
        "CONTEXT": format_tokens(one["context_tokens"]),
        "SINCE": _say_ago(one["since_s"], now_s),
        "USED": _say_ago(one["used_s"], now_s),
        "GOES": _say_end(one),
    }


def _say_ago(then_s: float | None, now_s: float) -> str:
    return "" if then_s is None else f"{format_age(max(0.0, now_s - then_s))} ago"


def _say_end(one: Mapping[str, Any]) -> str:
    if one["pinned"]:
        return "never: pinned"
    left_s = one["expires_in_s"]
    if left_s is None:
        return ""
    # Up to whole minutes: what was just loaded for 5 minutes does not go "in 4 min".
    return f"in {format_age(left_s if left_s < _MINUTE_S else math.ceil(left_s / _MINUTE_S) * _MINUTE_S)}"


class Status(NamedTuple):
    """How a server is."""

    record: Record
    about: Mapping[str, Any] | None
    """What it says of itself; `None`: it does not answer."""
    models: int
    """That are loaded."""
    log: str | None
    """The file of its log, where that is known."""


def render_status(status: Status) -> Iterator[str]:
    """How a server is, for people."""
    record, about, count = status.record, status.about, status.models
    how = "in the background" if record.background else "in a terminal or by a service"
    yield line(f"A server runs at {record.place}")
    yield f"  process  {record.pid}, {how}, for {format_age(max(0.0, time.time() - record.started_s))}"
    if about is None:
        yield "  state    does not answer; `lf server stop` ends it all the same"
    else:
        yield f"  state    ready, {count} model{'' if count == 1 else 's'} loaded"
        yield f"  key      {'has to be shown; `lf env` prints it' if about['key'] else 'none'}"
    if status.log:
        yield f"  log      {line(status.log)}"


def status_to_json(status: Status) -> dict[str, Any]:
    """The same for programs: no key, only whether there is one."""
    about = status.about
    return {
        **server_to_json(status.record),
        "ready": about is not None,
        "models": status.models,
        "key": None if about is None else about["key"] is not None,
        "log": status.log,
    }


def server_to_json(record: Record) -> dict[str, Any]:
    """A server for programs; its own key is for `lf` alone."""
    return {name: value for name, value in record._asdict().items() if name != "own_key"}
