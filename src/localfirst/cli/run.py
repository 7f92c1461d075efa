"""`lf run`: say something to a model, or chat with it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localfirst.cli import options

if TYPE_CHECKING:
    from localfirst.services.session import Session


def run(
    model: options.ModelArgument,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]", help="What to say; without it, --file or a pipe, a chat starts.", show_default=False
        ),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="Set the system text.")] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", metavar="PATH", help="Attach a text file; may be repeated.")
    ] = None,
    temp: Annotated[
        float | None,
        typer.Option(
            "--temp",
            metavar="T",
            min=0,
            max=10,
            callback=options.check_number,
            help="Temperature; 0 takes the likeliest.",
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", metavar="K", min=1, help="Draw from the K likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p",
            metavar="P",
            min=0,
            max=1,
            callback=options.check_number,
            help="Draw from the likeliest tokens that sum to P.",
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            "--min-p",
            metavar="P",
            min=0,
            max=1,
            callback=options.check_number,
            help="Draw from tokens P times as likely as the best.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Draw the same answer again.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer, in tokens.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="End the answer before TEXT; may be repeated.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="Answer in JSON that fits this JSON schema.")
    ] = None,
    regex: Annotated[
        str | None, typer.Option("--regex", metavar="TEXT", help="Answer with what this regular expression matches.")
    ] = None,
    grammar: Annotated[
        Path | None,
        typer.Option("--grammar", metavar="FILE", help="Answer as this grammar says (Lark's or llama.cpp's)."),
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option("--tools", metavar="FILE", help="Offer these tools, a JSON list as OpenAI has it."),
    ] = None,
    tool_choice: Annotated[
        str | None,
        typer.Option(
            "--tool-choice", metavar="CHOICE", help="auto, none, required, or the tool that has to be called."
        ),
    ] = None,
    ctx: options.Context = None,
    device: options.Device = None,
    backend: options.Backend = None,
    quant: options.Quant = None,
    tier: options.Tier = None,
    min_tps: options.MinTps = None,
    kv_cache: options.KvCache = None,
    threads: options.Threads = None,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", metavar="N", min=1, help="Share each layer among N GPUs (vllm, ...).")
    ] = 1,
    pipeline_parallel: Annotated[
        int, typer.Option("--pipeline-parallel", metavar="N", min=1, help="Share the layers among N groups of GPUs.")
    ] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Spread over a running Ray cluster (vllm).")
    ] = None,
    draft: options.Draft = None,
    json: options.Json = False,
    stats: Annotated[bool, typer.Option("--stats", help="Show tokens and speed after each answer.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Pass the model's control characters to the terminal.")] = False,
    no_history: Annotated[bool, typer.Option("--no-history", help="Keep no record of what you type.")] = False,
    accept_license: options.AcceptLicense = False,
    no_install: options.NoInstall = False,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Load the model here, though a running server has it.")
    ] = False,
    offline: options.Offline = False,
    _mirror: options.Mirror = None,
    quiet: options.Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say which build runs where, and why.")] = False,
) -> None:
    """Run a model.

    Answers PROMPT and what --file and a pipe add to it, or chats when there is none of them. What is missing (the
    runtime, the files) is fetched first.
    """
    from localfirst.cli import consent, output
    from localfirst.cli.progress import show_progress
    from localfirst.server.through import open_session as open_through
    from localfirst.services.planning import make_wanted
    from localfirst.services.preparing import Allowed
    from localfirst.services.prompt import attach, compose, read_piped, read_text_file
    from localfirst.services.session import make_sampling, open_session
    from localfirst.services.structure import check_together, parse_choice, read_constraint, read_tools
    from localfirst.types import Parallel

    constraint = read_constraint(schema=schema, regex=regex, grammar=grammar)
    offered = () if tools is None else read_tools(tools)
    choice = parse_choice(tool_choice, offered)
    check_together(constraint, offered)
    attachments = [attach(path.name, read_text_file(path)) for path in file or ()]
    text = compose(" ".join(prompt or ()), attachments, read_piped(sys.stdin))
    interactive = output.require_terminal_without(text, json=json)
    wanted = make_wanted(
        context_tokens=ctx,
        device=device,
        backend=backend,
        quantization=quant,
        tier=tier,
        min_tps=min_tps,
        cache=kv_cache,
        parallel=Parallel(tensor_parallel, pipeline_parallel, ray),
        task="chat",
        threads=threads,
    )

    tell = (lambda _: None) if quiet else output.print_notice
    opening = open_session if no_server else partial(open_through, tell=tell)

    def start(accepted: bool) -> Session:
        with show_progress(quiet=quiet or json) as report:
            return opening(
                model,
                wanted,
                allowed=Allowed(network=not offline, install=not no_install, accept_license=accepted),
                report=report,
                chosen=output.print_choice if verbose else None,
                draft=draft,
            )

    session = consent.ask(start, accepted=accept_license)
    if not quiet:
        output.print_short_context(session.plan, ctx)
    with session:
        session.system = system
        asked = {"temperature": temp, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed}
        session.sampling = make_sampling(session.plan, asked)
        session.max_tokens, session.stop = max_tokens, tuple(stop or ())
        session.constraint, session.tools, session.choice = constraint, offered, choice
        if interactive:
            from localfirst.cli.repl import run_chat

            run_chat(session, stats=stats, raw=raw, keep_history=not no_history)
        else:
            _answer(session, text, json=json, stats=stats, raw=raw)


def _answer(session: Session, text: str, *, json: bool, stats: bool, raw: bool) -> None:
    from localfirst.cli import output
    from localfirst.cli.answer import AnswerPrinter
    from localfirst.services.structure import check_whole

    printer = None if json else AnswerPrinter(raw=raw)
    try:
        for piece in session.stream(text):
            if printer is not None:
                printer.write(piece)
    finally:
        if printer is not None:
            printer.finish()
    if session.last is None:
        return
    if json:
        output.print_answer(session.plan, session.last)
    else:
        output.print_calls(session.last.tool_calls)
        if stats:
            output.print_stats(session.last)
    check_whole(session.constraint, session.last)
