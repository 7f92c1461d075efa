"""`lf serve`: one local address for every model on this disk."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.errors import UsageError

KEY = "LF_API_KEY"
KEY_LEAST = 16
"""Characters of a key: what is shorter is soon guessed by who may try from a network."""


def parse_keep_alive(text: str) -> float | None:
    """`5m` as seconds, `forever` as `None`, `0` as none at all, for an option."""
    from localfirst.units import parse_age

    if text in {"forever", "0"}:
        return None if text == "forever" else 0.0
    try:
        return parse_age(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; or 0, or forever") from error


def serve(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where to listen; 0 takes a free one.")
    ] = 12060,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen beyond this machine, which needs a key.")
    ] = "127.0.0.1",
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
    ctx: options.Context = None,
    device: options.Device = None,
    kv_cache: options.KvCache = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve models to programs.

    At one address that speaks as OpenAI's API does. A model on this disk is loaded when it is first asked for, and goes
    when another needs its memory. Nothing is fetched: `lf pull MODEL` does that. Ctrl-C ends it.
    """
    from localfirst.cli import output
    from localfirst.server import listen
    from localfirst.server.guard import Rules
    from localfirst.server.run import run
    from localfirst.services.planning import make_wanted
    from localfirst.services.serving.pool import Pool
    from localfirst.services.serving.shelf import find_offers

    key = _read_key(api_key_file)
    local = listen.is_loopback(host)
    if not local and key is None:
        raise UsageError(
            f"Whoever reaches {host} could use this machine",
            hint=f"Let them show a key: `openssl rand -hex 16 > key`, then `--api-key-file key`, or set {KEY}",
        )
    wanted = make_wanted(context_tokens=ctx, device=device, cache=kv_cache, threads=threads)._replace(requests=parallel)
    names = [offer.name for offer in find_offers()]
    pool = Pool(
        wanted,
        keep_alive_s=parse_keep_alive(keep_alive),
        waiting_most=queue,
        tell=(lambda _: None) if quiet else output.print_notice,
    )
    with ExitStack() as stack:
        listener = stack.enter_context(listen.listen(host, port))
        bound = listener.getsockname()[1]
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1"
        if port == 0:
            stack.enter_context(listen.announced(url, bound))
        rules = Rules(
            port=bound,
            key=key,
            hosts=frozenset(name.lower() for name in allow_host or ()),
            origins=frozenset(allow_origin or ()),
            addresses=not local,
        )
        output.print_serving(url, names, local=local, key=key is not None, json=json)
        run(pool, listener, rules, (lambda _: None) if quiet else output.print_notice)


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
