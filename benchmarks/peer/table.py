"""The peers: how each is found, how it is started, which files it takes, and how its figures are got.

In commands, files and variables `$model` is the file or folder, `$port` a free port, `$folder` a folder of this run's
own, `$here` the peer's interpreter or program, and `$threads`, `$context`, `$prompt` and `$tokens` numbers.

Sources: each program's `--help`; for ollama "Modelfile" and "FAQ" in ollama/ollama `docs/`; for llama.cpp's programs
ggml-org/llama.cpp, `tools/server/README.md` and `tools/llama-bench/README.md`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tests.contract.backends.llama_bindings import find_interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.peer.figures import Sample

from benchmarks.peer import figures

INSIDE = str(Path(__file__).with_name("inside.py"))
FIND_TIMEOUT_S = 60.0

Way = Literal["server", "pipe", "program"]
"""Asked by HTTP; by lines on its standard input; or it measures itself, and says what it found."""


class Peer(NamedTuple):
    """One of them."""

    name: str
    format: str
    engine: str
    """That of lf which it is held against: the same one, where lf has it."""
    way: Way
    command: tuple[str, ...]
    program: str | None = None
    """What is looked for on the PATH; `None`: a package, in an interpreter."""
    imports: str = ""
    """What that interpreter has to run without an error, to print the version."""
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    """What is run once it answers."""
    files: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    route: str = "/v1/models"
    """What answers once it is ready."""
    model: str = "peers"
    """What the model is called in a request."""
    body: Mapping[str, Any] = {}
    """What its requests have besides what all have."""
    parse: Callable[[str], Sample] | None = None
    """Of one that measures itself: what it prints, as figures."""
    was_run: bool = True
    """False: written from its documents, and run by nobody who wrote this."""


class Found(NamedTuple):
    """Where a peer is, and its version; or why there is none."""

    here: str | None
    told: str


ENDLESS = {"ignore_eos": True}

PEERS = (
    Peer(
        "lf serve",
        "gguf",
        "xllamacpp",
        "server",
        ("$here", "-m", "localfirst", "serve", "--port", "$port", "--ctx", "$context", "--threads", "$threads"),
        imports="import localfirst, localfirst.server; print(localfirst.__version__)",
        before=(("$here", "-m", "localfirst", "model", "import", "$model", "--name", "peers"),),
        environment={"LF_HOME": "$folder/home"},
    ),
    Peer(
        "xllamacpp's server",
        "gguf",
        "xllamacpp",
        "server",
        ("$here", INSIDE, "xllamacpp", "$model", "$port", "$threads", "$context"),
        imports="import xllamacpp; print(xllamacpp.__version__)",
        body=ENDLESS,
    ),
    Peer(
        "llama-cpp-python's server",
        "gguf",
        "llama-cpp-python",
        "server",
        (
            *("$here", "-m", "llama_cpp.server", "--model", "$model", "--port", "$port", "--n_ctx", "$context"),
            *("--n_threads", "$threads", "--n_threads_batch", "$threads"),
        ),
        imports="import llama_cpp.server.app; print(llama_cpp.__version__)",
    ),
    Peer(
        "llama-server",
        "gguf",
        "xllamacpp",
        "server",
        (
            *("$here", "--model", "$model", "--port", "$port", "--ctx-size", "$context", "--parallel", "1"),
            *("--threads", "$threads", "--threads-batch", "$threads", "--n-gpu-layers", "0"),
        ),
        program="llama-server",
        body=ENDLESS,
        was_run=False,
    ),
    Peer(
        "llama-bench",
        "gguf",
        "xllamacpp",
        "program",
        (
            *("$here", "--model", "$model", "--n-prompt", "$prompt", "--n-gen", "$tokens", "--threads", "$threads"),
            *("--n-gpu-layers", "0", "--repetitions", "1", "--output", "json"),
        ),
        program="llama-bench",
        parse=figures.parse_llama_bench,
        was_run=False,
    ),
    Peer(
        "ollama",
        "gguf",
        "xllamacpp",
        "server",
        ("$here", "serve"),
        program="ollama",
        after=(("$here", "create", "peers", "--file", "$folder/Modelfile"),),
        files={"Modelfile": "FROM $model\nPARAMETER num_ctx $context\nPARAMETER num_thread $threads\n"},
        environment={
            "OLLAMA_HOST": "127.0.0.1:$port",
            "OLLAMA_MODELS": "$folder/models",
            "OLLAMA_NUM_PARALLEL": "1",
        },
        was_run=False,
    ),
    Peer(
        "mlx_lm.server",
        "mlx",
        "mlx",
        "server",
        ("$here", "-m", "mlx_lm", "server", "--model", "$model", "--port", "$port"),
        imports="import mlx_lm.server; print(mlx_lm.__version__)",
        environment={"HF_HUB_OFFLINE": "1"},
        route="/health",
        model="default_model",
    ),
    Peer(
        "litert-lm benchmark",
        "litert",
        "litert",
        "program",
        (
            *("$here", "benchmark", "$model", "--prefill-tokens", "$prompt", "--decode-tokens", "$tokens"),
            *("--backend", "cpu", "--cpu-thread-count", "$threads", "--max-num-tokens", "$context"),
            *("--cache", "memory"),
        ),
        program="litert-lm",
        environment={"LITERT_LM_DIR": "$folder"},
        parse=figures.parse_litert_benchmark,
    ),
    Peer(
        "Foundry Local's SDK",
        "onnx",
        "onnx",
        "pipe",
        ("$here", INSIDE, "foundry", "$model", "$folder", "$threads", "$context"),
        imports="import foundry_local_sdk.version as one; print(one.__version__)",
    ),
)


def find_place(peer: Peer, named: Mapping[str, str]) -> str | None:
    """Where to look for a peer: as named on the command line, in the environment, or the usual place."""
    variable = f"LF_PEER_{make_key(peer.name).upper().replace('-', '_')}"
    said = named.get(make_key(peer.name)) or os.environ.get(variable)
    if said is None and peer.program is not None:
        return shutil.which(peer.program)
    if said is None and peer.engine == "llama-cpp-python":
        return find_interpreter() or sys.executable
    return said or sys.executable


def make_key(name: str) -> str:
    """What a peer is called in options: `llama-cpp-python`, `foundry`."""
    first = name.lower().removesuffix("'s server").removesuffix("'s sdk").removesuffix(" benchmark")
    return {"foundry local": "foundry"}.get(first, first).replace(" ", "-").replace(".", "-")


def find(peer: Peer, named: Mapping[str, str]) -> Found:
    """Where a peer is, by asking it for its version."""
    here = find_place(peer, named)
    if here is None:
        return Found(None, "not installed")
    command = [here, "--version"] if peer.program else [here, "-c", peer.imports]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FIND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Found(None, f"not run here: {error}")
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    if done.returncode and not peer.program:
        return Found(None, f"not installed ({lines[-1] if lines else 'no word of why'})")
    number = re.search(r"\d[\w.]*", "\n".join(lines))
    return Found(here, number.group() if number else "of an unknown version")
