"""The programs that serve OpenAI's dialect over HTTP, as data: how each is started, and how each wants to be asked.

Pure: values in, command lines and request bodies out. Sources: llama.cpp, `tools/server/README.md`; mozilla-ai's
llamafile, `docs/cli_arguments.md` and `docs/security.md`; vLLM, "vllm serve", "Parallelism and Scaling", "Pooling
Models", "Security" and "Usage Stats Collection"; Ray, "Starting Ray"; SGLang, "Server Arguments", "Embedding Models",
`srt/entrypoints/openai`; TensorRT-LLM, "trtllm-serve", `tensorrt_llm/serve` and `tensorrt_llm/usage`.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.backends.llama_cpp import options
from localfirst.choices import LLAMA_BATCH_TOKENS, LLAMA_CHECKPOINTS
from localfirst.conversation import MOST_LIKELIEST
from localfirst.errors import UsageError
from localfirst.types import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localfirst.conversation import Sampling
    from localfirst.types import Parallel, Pooling

OPTIONS = {"tensor": "--tensor-parallel", "pipeline": "--pipeline-parallel", "ray": "--ray"}
"""What the fields of `Parallel` are called on the command line."""
HOST = "127.0.0.1"
LOCAL_NAME = "local"
"""What the model is called in requests, for servers that can be told."""


QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""No usage statistics, and nothing from a hub. DO_NOT_TRACK: consoledonottrack.com, read by vLLM and TensorRT-LLM."""


class Start(NamedTuple):
    """What a command line is made of."""

    program: tuple[str, ...]
    """The program, with what has to stand before its options."""
    main: str
    port: int
    key: str
    context_tokens: int
    threads: int
    cache: str
    parallel: Parallel
    folder: str
    """A folder that only this user can enter."""
    pooling: Pooling | None = None
    """How to make one vector of a text; `None`: it is to answer."""
    batch_tokens: int | None = None


class Tokenizing(NamedTuple):
    """How a server counts the tokens of a text."""

    route: str
    text: str
    special: str
    """The field that asks for the tokens which a model wants around every text."""
    body: Mapping[str, Any] = MappingProxyType({})


class Server(NamedTuple):
    """A kind of server."""

    name: str
    engine: str
    describe: Callable[[Sampling], dict[str, Any]]
    """Sampling in its words."""
    lacks: tuple[str, ...] = ()
    """Fields of `Sampling` that it does not know, or not as they are meant."""
    command: Callable[[Start], list[str]] = lambda start: [*start.program]
    environment: Callable[[Start], dict[str, str]] = lambda _: {}
    files: Callable[[Start], dict[str, str]] = lambda _: {}
    """Files for its folder, by name: for what must not stand on a command line, which every user can read."""
    likeliest: int | None = None
    """As in `LoadedInfo`: only in llama.cpp's words lf can ask how likely tokens were, and read it."""
    tokenizing: Tokenizing | None = None
    """`None`: its token counts come with an answer only, so that one of a single token is asked for first."""
    spreads: Sequence[str] = ()
    """Fields of `Parallel` that it has an option for."""
    caches: Sequence[str] = ("f16",)
    batches: bool = False
    """Whether it can be told how many prompt tokens to compute at once."""
    requests: int = 1
    """Requests that it computes at the same time."""
    warning: str | None = None
    """What a user should know who shares the machine with others; told when it starts."""
    poolings: Sequence[Pooling] = ()
    """How it can make one vector of a text; none: it computes no embeddings here."""
    port_taken: Sequence[str] = ("ddress already in use",)
    """What it says, and ends, where somebody else listens on its port: the system's words, with a small `a` by uvicorn.

    Sources of others: llama.cpp, `tools/server/server-http.cpp`; TensorRT-LLM, `tensorrt_llm/commands/serve.py`.
    """


def _start_llama(start: Start) -> list[str]:
    """llama.cpp's server, in options that it has had for years.

    `chatml` is never used: without it, the file's own template runs while the model loads, and may never end. A text to
    embed is computed in one piece, but for one whose last token stands for it.
    """
    own_tokens = start.batch_tokens or LLAMA_BATCH_TOKENS
    batch_tokens = str(own_tokens if start.pooling in {None, "last"} else start.context_tokens)
    return [
        *start.program,
        *("--host", HOST, "--port", str(start.port)),
        *("--ctx-size", str(start.context_tokens), "--parallel", "1", "--n-gpu-layers", "0"),
        *("--threads", str(start.threads), "--threads-batch", str(start.threads)),
        *("--batch-size", batch_tokens, "--ubatch-size", batch_tokens),
        *("--cache-type-k", start.cache, "--cache-type-v", start.cache),
        *("--no-warmup", "--chat-template", "chatml"),
        *(("--embeddings", "--pooling", start.pooling) if start.pooling else ()),
    ]


def _set_llama(start: Start) -> dict[str, str]:
    """What is newer, as variables: a build that does not know one leaves it, where it would end at an option.

    No copies of old prompts, which take up to 8 GiB; no fitting, for the plan has decided; no pages for a browser.
    Older builds have other names for those pages, and for being offline.
    """
    return QUIET | {
        "LLAMA_API_KEY": start.key,
        "LLAMA_ARG_DEVICE": "none",
        "LLAMA_ARG_OFFLINE": "1",
        "LLAMA_OFFLINE": "1",
        "LLAMA_ARG_FIT": "off",
        "LLAMA_ARG_CACHE_RAM": "0",
        "LLAMA_ARG_CACHE_IDLE_SLOTS": "0",
        "LLAMA_ARG_CTX_CHECKPOINTS": str(LLAMA_CHECKPOINTS),
        "LLAMA_ARG_CORS_ORIGINS": "",
        "LLAMA_ARG_ENDPOINT_SLOTS": "0",
        "LLAMA_ARG_UI": "0",
        "LLAMA_ARG_NO_WEBUI": "1",
    }


def _start_llama_server(start: Start) -> list[str]:
    return [*_start_llama(start), "--model", start.main]


def _start_llamafile(start: Start) -> list[str]:
    """`--gpu disable` keeps its sandbox on, in which no GPU's driver would work.

    `--server` starts no chat beside it, and from 0.10 on nothing opens a browser.
    """
    return [*_start_llama(start), "--model", start.main, "--server", "--gpu", "disable"]


def _start_vllm(start: Start) -> list[str]:
    parallel = start.parallel
    return [
        *(*start.program, "serve", start.main),
        *("--host", HOST, "--port", str(start.port), "--served-model-name", LOCAL_NAME),
        *("--max-model-len", str(start.context_tokens), "--generation-config", "vllm"),
        *("--tensor-parallel-size", str(parallel.tensor), "--pipeline-parallel-size", str(parallel.pipeline)),
        *(("--distributed-executor-backend", "ray") if parallel.ray else ()),
        *(("--runner", "pooling", "--convert", "embed") if start.pooling else ()),
        *(("--pooler-config", json.dumps({"pooling_type": start.pooling.upper()})) if start.pooling else ()),
    ]


def _start_sglang(start: Start) -> list[str]:
    """The key goes by a file: SGLang knows no variable for it. `openai`: no sampling defaults of the model's own."""
    parallel = start.parallel
    return [
        *(*start.program, "serve", "--config", f"{start.folder}/sglang.yaml", "--model-path", start.main),
        *("--host", HOST, "--port", str(start.port), "--served-model-name", LOCAL_NAME),
        *("--context-length", str(start.context_tokens), "--sampling-defaults", "openai"),
        *("--tp-size", str(parallel.tensor), "--pp-size", str(parallel.pipeline)),
        *(("--is-embedding",) if start.pooling else ()),
    ]


def _start_tensorrt(start: Start) -> list[str]:
    """`trtllm-serve` has an address and a port to listen on, and no option for a key or for a Unix socket."""
    parallel = start.parallel
    return [
        *(*start.program, start.main),
        *("--host", HOST, "--port", str(start.port), "--served_model_name", LOCAL_NAME),
        *("--max_seq_len", str(start.context_tokens)),
        *("--tp_size", str(parallel.tensor), "--pp_size", str(parallel.pipeline)),
    ]


def _set_vllm(start: Start) -> dict[str, str]:
    """`ray.init()`, which vLLM calls without an address, takes the one in `RAY_ADDRESS` before it looks for another."""
    ray = {"RAY_ADDRESS": start.parallel.ray} if start.parallel.ray else {}
    return QUIET | {"VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0", "VLLM_API_KEY": start.key} | ray


def _describe_openai(sampling: Sampling) -> dict[str, Any]:
    """What OpenAI's API has; the rest is said only where it was asked for, so that nobody has to know it."""
    asked = {
        "temperature": sampling.temperature,
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": {str(token): max(-MOST_BIAS, min(MOST_BIAS, bias)) for token, bias in sampling.logit_bias}
        or None,
        "seed": None if sampling.seed is None else sampling.seed % options.SEEDS,
    }
    return {name: value for name, value in asked.items() if value is not None}


MOST_BIAS = 100
"""Of OpenAI's API, either way."""
_OPEN = "while it runs, other users of this machine who find its port can use the model too"
ENDLESS = {"ignore_eos": True}
"""What asks to go on past what ends an answer, of all of them. Sources: llama.cpp, as above; vLLM and SGLang, "Sampling
Parameters"; TensorRT-LLM, `tensorrt_llm/serve/openai_protocol.py`. OpenAI's own API knows it not, and refuses it."""
COUNTED = {"stream_options": {"include_usage": True}}
"""The counts at the end of an answer."""
COUNTED_ALWAYS = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
"""The counts with each piece, too: in vLLM and TensorRT-LLM only beside `include_usage`, in SGLang by itself. No server
elsewhere is asked for it: OpenAI's own API and `lf serve` refuse what they do not know."""
_HUGGING_FACE = Tokenizing("/tokenize", "prompt", "add_special_tokens", {"model": LOCAL_NAME})
_LLAMA: dict[str, Any] = {
    "describe": lambda sampling: options.describe(sampling) | options.OPTIONS,
    "environment": _set_llama,
    "tokenizing": Tokenizing("/tokenize", "content", "add_special", {"parse_special": True}),
    "caches": ("f16", "q8_0", "q4_0"),
    "poolings": ("mean", "cls", "last"),
    "port_taken": ("couldn't bind HTTP server socket",),
    "likeliest": MOST_LIKELIEST,
    "batches": True,
}
_OPENAI: dict[str, Any] = {"describe": lambda sampling: _describe_openai(sampling) | COUNTED_ALWAYS, "requests": 16}

LLAMAFILE = Server("llamafile", "llamafile", command=_start_llamafile, **_LLAMA)
LLAMA_SERVER = Server("llama-server", "llama.cpp", command=_start_llama_server, **_LLAMA)
VLLM = Server(
    "vllm",
    "vLLM",
    command=_start_vllm,
    environment=_set_vllm,
    tokenizing=_HUGGING_FACE,
    spreads=("tensor", "pipeline", "ray"),
    warning=f"vLLM asks for its key on some routes only: {_OPEN}",
    poolings=("mean", "cls", "last"),
    **_OPENAI,
)
SGLANG = Server(
    "sglang",
    "SGLang",
    lacks=("seed",),
    command=_start_sglang,
    environment=lambda _: QUIET,
    files=lambda start: {"sglang.yaml": f"api-key: {json.dumps(start.key)}\n"},
    tokenizing=_HUGGING_FACE,
    poolings=("last",),
    spreads=("tensor", "pipeline"),
    **_OPENAI,
)
TENSORRT = Server(
    "tensorrt-llm",
    "TensorRT-LLM",
    command=_start_tensorrt,
    environment=lambda _: QUIET | {"TRTLLM_NO_USAGE_STATS": "1", "TELEMETRY_DISABLED": "1"},
    spreads=("tensor", "pipeline"),
    warning=f"TensorRT-LLM asks for no key: {_OPEN}",
    port_taken=("Failed to bind socket to",),
    **_OPENAI,
)
REMOTE = Server(
    "remote",
    "a server",
    lacks=("top_k", "min_p", "repetition_penalty"),
    describe=lambda sampling: _describe_openai(sampling) | COUNTED,
    requests=16,
)
SERVERS = {one.name: one for one in (LLAMAFILE, LLAMA_SERVER, VLLM, SGLANG, TENSORRT, REMOTE)}
"""SGLang draws with a seed only under `--enable-deterministic-inference`, which costs a third of its speed."""


def refuse_pooling(server: Server, pooling: Pooling | None) -> None:
    """Refuse to make vectors in a way that a server has no option for.

    Raises:
        UsageError: the engine and the option are in the message.
    """
    if pooling is not None and pooling not in server.poolings:
        able = ", ".join(one.engine for one in SERVERS.values() if pooling in one.poolings)
        raise UsageError(f"{server.engine} has no `--pooling {pooling}`", hint=f"Use an engine that has: {able}")


def refuse_spreading(engine: str, spreads: Sequence[str], parallel: Parallel) -> None:
    """Refuse to spread a model over devices in a way that its engine has no option for.

    Raises:
        UsageError: the engine and the option are in the message.
    """
    for name, value in parallel._asdict().items():
        if value != getattr(ALONE, name) and name not in spreads:
            able = ", ".join(one.engine for one in SERVERS.values() if name in one.spreads)
            raise UsageError(
                f"{engine} has no `{OPTIONS[name]}`", hint=f"Leave it out, or use an engine that has: {able}"
            )
