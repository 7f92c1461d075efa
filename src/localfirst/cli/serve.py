"""`lf serve`: one local address for every model on this disk."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst import __version__
from localfirst.cli import options
from localfirst.errors import UsageError
from localfirst.server import BACKGROUND, KEY

if TYPE_CHECKING:
    from collections.abc import Callable

HOST, PORT = "127.0.0.1", 12060
EVERYWHERE = {"0.0.0.0": HOST, "::": "::1"}  # noqa: S104 - compared, not listened at
"""Addresses that mean all of a machine's, each with one that programs on it reach."""
KEY_BYTES = 24
"""Of a key that is made, before they become letters."""
KEY_LEAST = 16
"""Characters of a key: what is shorter is soon guessed by who may try from a network."""


def parse_keep_alive(text: str) -> float | None:
    """`5m` as seconds, `forever` as `None`, `0` as none at all, for an option."""
    from localfirst.units import parse_age

    if text in {"forever", "0"}:
        return None if text == "forever" else 0.0
    try:
        return parse_age(text)
    except ValueError:
        problem = f"not a time such as 90s, 5m or 1h, nor 0 or forever: {text!r}"
        raise typer.BadParameter(problem, param_hint="'--keep-alive'") from None


def _read_names(option: str, given: list[str] | None, read: Callable[[str], str], problem: str) -> frozenset[str]:
    try:
        return frozenset(read(text) for text in given or ())
    except ValueError as error:
        raise typer.BadParameter(f"{error} {problem}", param_hint=f"'{option}'") from None


def serve(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where to listen; 0 takes a free one.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Listen beyond this machine too; a key is made if none is set."),
    ] = HOST,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="PATH", help="Listen at a UNIX socket of yours alone, and at no port."),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"Answer only who shows this key; or set {KEY}."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name of this server; may be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Let pages of this site ask; may be repeated."),
    ] = None,
    allow_manage: Annotated[
        bool,
        typer.Option("--allow-manage", help="Let clients fetch and remove models, as Ollama's do."),
    ] = False,
    keep_alive: Annotated[
        str, typer.Option("--keep-alive", metavar="TIME", help="Unload what is unused for so long: 5m, 0, forever.")
    ] = "5m",
    parallel: Annotated[
        int,
        typer.Option("--parallel", metavar="N", min=1, help="Answer N requests of a model at a time, memory allowing."),
    ] = 1,
    queue: Annotated[
        int, typer.Option("--queue", metavar="N", min=1, help="Let N more wait for a model before one is turned away.")
    ] = 32,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Write the log to a file, of bounded size, not to the terminal."),
    ] = None,
    ctx: options.Context = None,
    device: options.Device = None,
    kv_cache: options.KvCache = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve models to programs.

    At one address that speaks as the APIs of OpenAI, Anthropic and Ollama do, and shows a page to chat on. A model on
    this disk is loaded when it is first asked for, and goes when another needs its memory. Nothing is fetched: `lf pull
    MODEL` does that, or clients with --allow-manage. Ctrl-C ends it.
    """
    from localfirst.cli import output
    from localfirst.cli.views import serving as views
    from localfirst.hwprobe.probe import probe
    from localfirst.server import found, listen
    from localfirst.server.guard import Rules, read_host, read_origin
    from localfirst.server.logfile import written_aside
    from localfirst.server.management import About
    from localfirst.server.run import run
    from localfirst.services.planning import make_wanted, require_device
    from localfirst.services.serving.pool import Pool
    from localfirst.services.serving.shelf import find_offers

    background = os.environ.pop(BACKGROUND, None) is not None
    if socket is not None and (host, port) != (HOST, PORT):
        raise UsageError("A server listens at a socket or at a port, not at both", hint="Leave out one of them")
    hosts = _read_names("--allow-host", allow_host, read_host, "is no name such as lab.local or lab.local:443")
    origins = _read_names("--allow-origin", allow_origin, read_origin, "is no site such as https://app.example:8443")
    local = socket is not None or listen.is_loopback(host)
    key = _read_key(api_key_file)
    made = None if local or key else secrets.token_urlsafe(KEY_BYTES)
    wanted = make_wanted(context_tokens=ctx, device=device, cache=kv_cache, threads=threads)._replace(requests=parallel)
    require_device(probe(), device)
    names = [offer.name for offer in find_offers()]
    keep_alive_s = parse_keep_alive(keep_alive)
    with ExitStack() as stack:
        write = stack.enter_context(written_aside(_find_log(log, quiet=quiet)))
        pool = Pool(wanted, keep_alive_s=keep_alive_s, waiting_most=queue, tell=write)
        path = socket.absolute() if socket else None
        listener = stack.enter_context(listen.listen_at(path) if path else listen.listen(host, port))
        bound = None if path else listener.getsockname()[1]
        record = found.make_record(_make_url(EVERYWHERE.get(host, host), bound), path, background=background)
        try:
            stack.enter_context(found.announced(record))
        except OSError as error:
            write(f"Other commands of lf will not find this server: {error}")
        rules = Rules(
            port=bound,
            key=key or made,
            own_key=record.own_key,
            hosts=hosts,
            origins=origins,
            addresses=not local,
            manage=allow_manage,
        )
        told = views.Serving(record.url, record.socket, local, host in EVERYWHERE, key is not None, made)
        output.print_report(
            lambda _: [*views.render_serving(told, names)], lambda: views.serving_to_json(told, names), json=json
        )
        if log is not None:  # else the lines above say so
            write(f"serving at {record.place}, as process {record.pid}, by lf {__version__}")
        run(pool, listener, rules, About(record, rules.key), write)
        if log is not None:
            write("ended, as it was told")


def _make_url(host: str, port: int | None) -> str:
    """Of OpenAI's dialect; at a socket, where no name leads, one that clients take."""
    name = f"[{host}]" if ":" in host else host
    return "http://localhost/v1" if port is None else f"http://{name}:{port}/v1"


def _find_log(file: Path | None, *, quiet: bool) -> Callable[[str], None]:
    from localfirst.cli import output
    from localfirst.server.logfile import log_to

    if file is not None:
        write = log_to(file.absolute())
        return (lambda _: None) if quiet else write
    return (lambda _: None) if quiet else output.print_notice


def _read_key(file: Path | None) -> str | None:
    """The key that requests have to show; `None` where none is set.

    Raises:
        UsageError: the file cannot be read, or what it holds is no key.
    """
    from localfirst.services.prompt import read_text_file

    key = read_text_file(file).strip() if file else os.environ.get(KEY, "").strip()
    if not key and file is None:
        return None
    if len(key) < KEY_LEAST or not key.isascii() or not key.isprintable() or " " in key:
        where = f"`{file}`" if file else KEY
        raise UsageError(
            f"The key in {where} is no key: it needs {KEY_LEAST} or more letters and digits",
            hint="Make one: `openssl rand -hex 16`",
        )
    return key
