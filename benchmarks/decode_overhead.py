"""What an adapter costs per generated token: its tokens per second against those of the bare engine, same model.

Run from the repository's root on a quiet machine: `python -m benchmarks.decode_overhead [--threads N] [--rounds N]`.
Both sides decode from the same random weights, in turns. The ratio is the median over rounds of two runs next to each
other in time, for a machine's speed drifts by more than what is measured. The target, decoding greedily, is 0.98.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from tests.contract.backends.llama_bindings import find_bindings
from tests.fixtures.scripted import (
    Shape,
    make_random_gguf,
    make_random_litert,
    make_random_mlx,
    make_random_onnx,
    make_random_openvino,
)
from tests.fixtures.servers import make_program

from localfirst.backends.base import Finished, GenerateRequest, LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.conversation import Sampling

if TYPE_CHECKING:
    from localfirst.backends.base import LoadedModel

SHAPE = Shape(hidden=768, layers=12, heads=12, kv_heads=4, feed_forward=2048, context=2048)
VOCABULARY = 32000
PROMPT = tuple(range(65, 97))
TOKENS = 256


def main() -> None:
    """Build the models, measure the engines, print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backend", action="append", choices=ENGINES, help="only this one; may be repeated")
    asked = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    print(
        f"{SHAPE.parameters(VOCABULARY) / 1e6:.0f} M parameters, {asked.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    for backend in asked.backend or ENGINES:
        with tempfile.TemporaryDirectory() as folder:
            path = ENGINES[backend].make_model(Path(folder))
            model = make_backend(backend, ENGINES[backend].make_program(Path(folder))).load(
                ModelFiles(str(path)), LoadOptions(SHAPE.context, asked.threads)
            )
            compare(backend, model, ENGINES[backend].make_bare(path, asked.threads), asked.rounds)


def compare(backend: str, model: LoadedModel, bare: Callable[[], float], rounds: int) -> None:
    """Measure in turns: the bare engine, the adapter, the adapter drawing at random."""
    drawing = Sampling(0.7, top_k=40, top_p=0.9, seed=1)
    runs = [(bare(), decode(model, Sampling(0)), decode(model, drawing)) for _ in range(rounds)]
    model.close()
    bare_s, greedy_s, drawn_s = (min(column) for column in zip(*runs, strict=True))
    greedy_ratio = median(bare_s / greedy_s for bare_s, greedy_s, _ in runs)
    drawn_ratio = median(bare_s / drawn_s for bare_s, _, drawn_s in runs)
    print(
        f"{backend}: best tokens/s: bare {1 / bare_s:.1f}, adapter {1 / greedy_s:.1f}, sampling {1 / drawn_s:.1f}; "
        f"median ratio to bare: greedy {greedy_ratio:.3f}, sampling {drawn_ratio:.3f}"
    )


def decode(model: LoadedModel, sampling: Sampling) -> float:
    """Seconds per token through the adapter, as a reader of its chunks sees them, the prompt not counted."""
    began = perf_counter()
    *_, end = model.generate(GenerateRequest(PROMPT, sampling, max_tokens=TOKENS))
    took_s = perf_counter() - began
    assert isinstance(end, Finished)
    assert end.usage.completion_tokens == TOKENS
    assert end.prefill_s is not None
    return (took_s - end.prefill_s) / (TOKENS - 1)


def make_bare_llama_cpp(path: Path, threads: int) -> Callable[[], float]:
    """llama.cpp without streaming: its own clock, nothing of Python between two tokens."""
    import xllamacpp  # noqa: PLC0415 - the other engine's measurement needs none of it

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = SHAPE.context, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup, params.fit_params, params.verbosity = False, False, 0
    params.hostnames = [str(path.with_suffix(".sock"))]
    server = xllamacpp.Server(params)
    body = {"prompt": list(PROMPT), "max_tokens": TOKENS, "temperature": 0, "top_k": 1, "samplers": ["top_k"]}

    def run() -> float:
        timings = server.handle_completions(body)["timings"]
        assert timings["predicted_n"] == TOKENS
        return timings["predicted_ms"] / 1000 / (TOKENS - 1)

    return run


def make_bare_llama_cpp_python(path: Path, threads: int) -> Callable[[], float]:
    """The bindings' own calls, one to compute a token and one to take the likeliest; no text is made."""
    from llama_cpp import llama_cpp as library  # noqa: PLC0415 - only where there is a build of it

    silent = library.llama_log_callback(lambda *_: None)
    library.llama_log_set(silent, None)
    library.llama_backend_init()
    model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
    params = library.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = SHAPE.context, threads, threads
    context = library.llama_init_from_model(model, params)
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())

    def read(tokens: tuple[int, ...]) -> int:
        row = (library.llama_token * len(tokens))(*tokens)
        assert library.llama_decode(context, library.llama_batch_get_one(row, len(tokens))) == 0
        return library.llama_sampler_sample(chain, context, -1)

    def run() -> float:
        assert silent
        library.llama_memory_seq_rm(library.llama_get_memory(context), 0, -1, -1)
        token = read(PROMPT)
        began = perf_counter()
        for _ in range(TOKENS - 1):
            token = read((token,))
        return (perf_counter() - began) / (TOKENS - 1)

    return run


def make_bare_onnx(path: Path, threads: int) -> Callable[[], float]:
    """ONNX Runtime GenAI's own loop with its own greedy search; no text is made."""
    import onnxruntime_genai as genai  # noqa: PLC0415 - reads ORT_DISABLE_TELEMETRY when it is imported

    config = genai.Config(str(path))
    config.clear_providers()
    options = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": "0"}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = genai.Model(config)

    def run() -> float:
        params = genai.GeneratorParams(model)
        params.set_search_options(max_length=SHAPE.context, do_sample=False)
        generator = genai.Generator(model, params)
        generator.append_tokens(list(PROMPT))
        generator.generate_next_token()
        began = perf_counter()
        for _ in range(TOKENS - 1):
            generator.generate_next_token()
        return (perf_counter() - began) / (TOKENS - 1)

    return run


def make_bare_mlx(path: Path, _threads: int) -> Callable[[], float]:
    """mlx-lm's own loop with its own greedy sampler; no text is made. MLX has no setting for threads."""
    import mlx.core as mx  # noqa: PLC0415 - as above
    from mlx_lm.generate import generate_step  # noqa: PLC0415
    from mlx_lm.utils import load_model  # noqa: PLC0415

    model, _ = load_model(path)

    def run() -> float:
        steps = generate_step(mx.array(PROMPT), model, max_tokens=TOKENS)
        next(steps)
        began = perf_counter()
        assert sum(1 for _ in steps) == TOKENS - 1
        return (perf_counter() - began) / (TOKENS - 1)

    return run


def make_bare_openvino(path: Path, threads: int) -> Callable[[], float]:
    """OpenVINO GenAI's own loop with its own greedy search and clock; no text is made."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import numpy as np  # noqa: PLC0415 - telemetry first
    import openvino  # noqa: PLC0415
    import openvino_genai as genai  # noqa: PLC0415

    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = SHAPE.context // 32 + 1
    scheduler.max_num_seqs = 1
    properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    tokenizer = genai.Tokenizer(str(path))
    pipeline = genai.ContinuousBatchingPipeline(str(path), tokenizer, scheduler, "CPU", **properties)
    config = genai.GenerationConfig(max_new_tokens=TOKENS, ignore_eos=True)
    prompt = openvino.Tensor(np.array([PROMPT], np.int64))

    def run() -> float:
        metrics = pipeline.generate([prompt], [config])[0].perf_metrics
        assert metrics.get_num_generated_tokens() == TOKENS
        return metrics.get_tpot().mean / 1000

    return run


def make_bare_litert(path: Path, threads: int) -> Callable[[], float]:
    """LiteRT-LM without streaming: its own clock, nothing of Python between two tokens."""
    import litert_lm  # noqa: PLC0415 - the other engines' measurements need none of it

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    engine = litert_lm.Engine(
        str(path),
        backend=litert_lm.Backend.CPU(thread_count=threads),
        max_num_tokens=SHAPE.context,
        cache_dir=":memory",
        enable_benchmark=True,
    )
    greedy = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=1)
    prompt = "".join(map(chr, PROMPT))

    def run() -> float:
        with engine.create_session(
            apply_prompt_template=False, sampler_config=greedy, max_output_tokens=TOKENS
        ) as session:
            session.run_prefill([prompt])
            session.run_decode()
            told = session.get_benchmark_info()
        assert told.last_decode_token_count == TOKENS
        return 1 / told.last_decode_tokens_per_second

    return run


class Bench(NamedTuple):
    """How an engine is measured: the name of its file or folder, who writes that, and who makes the bare loop."""

    file_name: str
    make_random: Callable[..., object]
    make_bare: Callable[[Path, int], Callable[[], float]]
    script: str | None = None
    """The program that serves, for an engine that is one."""

    def make_model(self, folder: Path) -> Path:
        """The path of random weights in 4 bits."""
        self.make_random(folder / self.file_name, SHAPE, vocabulary_size=VOCABULARY)
        return folder / self.file_name

    def make_program(self, folder: Path) -> str | None:
        """The path of that program."""
        return None if self.script is None else make_program(folder / "program", self.script)


ENGINES = {
    "xllamacpp": Bench("model.gguf", partial(make_random_gguf, quantization="Q4_0"), make_bare_llama_cpp),
    "llama-server": Bench(
        "model.gguf", partial(make_random_gguf, quantization="Q4_0"), make_bare_llama_cpp, "llama_server.py"
    ),
    "onnx": Bench("onnx", partial(make_random_onnx, bits=4), make_bare_onnx),
    "mlx": Bench("mlx", partial(make_random_mlx, bits=4), make_bare_mlx),
    "openvino": Bench("openvino", partial(make_random_openvino, bits=4), make_bare_openvino),
    "litert": Bench("model.litertlm", partial(make_random_litert, bits=4), make_bare_litert),
}
if find_bindings():
    make_q4_0 = partial(make_random_gguf, quantization="Q4_0")
    ENGINES["llama-cpp-python"] = Bench("model.gguf", make_q4_0, make_bare_llama_cpp_python)


if __name__ == "__main__":
    main()
