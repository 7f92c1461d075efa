"""The options that several commands share, each written once."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

LEAST_CONTEXT = 256
"""Tokens; a template and a question hardly take less."""


def complete_model(incomplete: str) -> list[str]:
    """Model names for the shell, from the catalog's cache and the store; no network."""
    from localfirst.services.library import find_names

    return list(find_names(incomplete))


def complete_installed(incomplete: str) -> list[str]:
    """Names of models on this disk for the shell."""
    from localfirst.services.library import find_names

    return list(find_names(incomplete, on_disk=True))


def complete_backend(incomplete: str) -> list[str]:
    """Names of engines for the shell, those that take others with them first."""
    from localfirst.catalog.rules import BACKEND_FAMILIES
    from localfirst.services.engines import find_runtimes

    names = dict.fromkeys((*BACKEND_FAMILIES, *(runtime.backend for runtime in find_runtimes())))
    return [name for name in names if name.startswith(incomplete)]


def complete_runtime(incomplete: str) -> list[str]:
    """Runtime names for the shell."""
    from localfirst.services.engines import find_runtimes, find_tools

    return [runtime.name for runtime in (*find_runtimes(), *find_tools()) if runtime.name.startswith(incomplete)]


def parse_size(text: str) -> int:
    """`5GB` as bytes, for an option."""
    from localfirst.units import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def parse_path(text: str) -> Path:
    """A path that was typed; an empty one, as of a variable that is not set, would mean the current folder."""
    if not text:
        raise typer.BadParameter("It is empty.")
    return Path(text)


def parse_context(text: str) -> int:
    """`32k` as tokens, for an option."""
    from localfirst.units import parse_tokens

    try:
        tokens = parse_tokens(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if tokens < LEAST_CONTEXT:
        raise typer.BadParameter(f"{tokens} tokens are too few: at least {LEAST_CONTEXT}")
    return tokens


def check_number(value: float | None) -> float | None:
    """Refuse `nan`, which is in every range, and `inf`."""
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is no number")
    return value


def use_mirror(url: str | None) -> str | None:
    """Set where every command that asks a hub looks first."""
    if url is not None:
        from localfirst.store.net.endpoint import check_mirror

        os.environ["LF_MIRROR"] = check_mirror(url)
    return url


def complete_profile(incomplete: str) -> list[str]:
    """Names of recorded machines for the shell."""
    from localfirst.services.machines import find_profiles

    return [name for name in find_profiles() if name.startswith(incomplete)]


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A catalog name such as phi-4-mini, optionally name[:size][@quant][#backend]; hf:org/repo; or a path.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
OptionalModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A catalog name such as phi-4-mini, optionally name[:size][@quant][#backend]; or hf:org/repo.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
ModelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...", help="Names as in `lf list`.", autocompletion=complete_model, show_default=False
    ),
]
InstalledModelsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Names as in `lf list --installed`.",
        autocompletion=complete_installed,
        show_default=False,
    ),
]
OptionalModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...", help="Models on this disk.", autocompletion=complete_installed, show_default=False
    ),
]
RuntimeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="As shown by `lf runtime list`.", autocompletion=complete_runtime, show_default=False
    ),
]
RuntimesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME...", help="As shown by `lf runtime list`.", autocompletion=complete_runtime, show_default=False
    ),
]
OptionalRuntimesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...", help="Only these runtimes.", autocompletion=complete_runtime, show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line: what happens, then the result.")]
Offline = Annotated[bool, typer.Option("--offline", envvar="LF_OFFLINE", help="Use no network.", show_envvar=False)]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help="Fetch from this copy of the hub; it gets no token.",
        callback=use_mirror,
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="Answer for a recorded machine (`lf hw --profiles`) instead of this one.",
        autocompletion=complete_profile,
        show_default=False,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        metavar="TOKENS",
        parser=parse_context,
        help="Context: tokens of prompt and answer together, such as 8192 or 32k.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="auto|cpu|gpu|npu", help="Where to compute; anything but auto is a demand."),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Which engine to use, e.g. llama.cpp or onnx.",
        autocompletion=complete_backend,
    ),
]
Quant = Annotated[
    str | None, typer.Option("--quant", metavar="NAME", help="Which build to use, by its name or quantization.")
]
Tier = Annotated[
    str | None,
    typer.Option(
        "--tier",
        metavar="vendor|runtime-vendor|platform|community",
        help="Only builds published by the model's vendor; or by its engine's maker too; "
        "or by a platform too, such as ggml-org; or by anyone.",
    ),
]
MinTps = Annotated[
    float | None,
    typer.Option(
        "--min-tps", metavar="N", min=0, callback=check_number, help="Nothing slower than N tokens/s; 1 if not said."
    ),
]
KvCache = Annotated[
    str | None,
    typer.Option(
        "--kv-cache",
        metavar="f16|q8_0|q4_0",
        help="How to keep the context in memory: quantized, it takes half or a quarter, and costs some quality.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "-t",
        "--threads",
        metavar="N",
        min=1,
        max=1024,
        help="Threads to compute with; the free cores if not said.",
    ),
]
Draft = Annotated[
    str | None,
    typer.Option(
        "--draft",
        metavar="MODEL|auto",
        help="Let a smaller model of the same vocabulary guess ahead: the same answer, sooner.",
        autocompletion=complete_model,
    ),
]
AcceptLicense = Annotated[
    bool, typer.Option("--accept-license", help="Accept the terms of the model's licence, where it has any.")
]
NoInstall = Annotated[bool, typer.Option("--no-install", help="Fail instead of installing a missing runtime.")]
