"""Engines called directly, each by its own loop, in a process of its own: what `benchmarks/overhead.py` compares with.

    python -m benchmarks.bare BACKEND PATH THREADS CONTEXT_TOKENS

For each line `{"prompt": [token ids], "tokens": n}` on standard input one line of answer: seconds until the first token
is known, and for the others. Nothing but the engine is imported, so that the process's memory is the engine's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

Run = Callable[[Sequence[int], int], tuple[float, float]]
"""Prompt and number of tokens to seconds until the first token and seconds for the others."""


def open_xllamacpp(path: Path, threads: int, context_tokens: int) -> Run:
    """llama.cpp's server loop without HTTP, streaming its text to a function that does nothing with it."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = context_tokens, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup, params.fit_params, params.verbosity = False, False, 0
    params.cache_ram_mib = 0
    params.hostnames = [str(path.with_suffix(".sock"))]
    server = xllamacpp.Server(params)

    greedy = {"temperature": 0, "top_k": 1, "samplers": ["top_k"], "cache_prompt": False, "ignore_eos": True}

    def run(prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        times: list[float] = []
        began = perf_counter()
        body = {"prompt": list(prompt), "max_tokens": tokens, "stream": True}
        server.handle_completions(body | greedy, lambda _: times.append(perf_counter()))
        return times[0] - began, times[-1] - times[0]

    return run


def open_llama_cpp_python(path: Path, threads: int, context_tokens: int) -> Run:
    """The bindings' own calls, one to compute tokens and one to take the likeliest; no text is made."""
    from llama_cpp import llama_cpp as library

    silent = library.llama_log_callback(lambda *_: None)
    library.llama_log_set(silent, None)
    library.llama_backend_init()
    model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
    params = library.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = context_tokens, threads, threads
    context = library.llama_init_from_model(model, params)
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())

    def read(tokens: Sequence[int]) -> int:
        row = (library.llama_token * len(tokens))(*tokens)
        assert silent
        assert library.llama_decode(context, library.llama_batch_get_one(row, len(tokens))) == 0
        token: int = library.llama_sampler_sample(chain, context, -1)
        return token

    def run(prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        library.llama_memory_seq_rm(library.llama_get_memory(context), 0, -1, -1)
        began = perf_counter()
        token = read(prompt)
        first = perf_counter()
        for _ in range(tokens - 1):
            token = read((token,))
        return first - began, perf_counter() - first

    return run


def open_onnx(path: Path, threads: int, context_tokens: int) -> Run:
    """ONNX Runtime GenAI's own loop with its own greedy search and its own stream of text."""
    import onnxruntime_genai as genai

    config = genai.Config(str(path))
    config.clear_providers()
    options = {"intra_op_num_threads": threads, "session.intra_op.spin_duration_us": "50"}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = genai.Model(config)
    tokenizer = genai.Tokenizer(model)

    def run(prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        params = genai.GeneratorParams(model)
        params.set_search_options(max_length=context_tokens, do_sample=False)
        generator = genai.Generator(model, params)
        began = perf_counter()
        generator.append_tokens(list(prompt))
        stream = tokenizer.create_stream()
        generator.generate_next_token()
        stream.decode(generator.get_next_tokens()[0])
        first = perf_counter()
        for _ in range(tokens - 1):
            generator.generate_next_token()
            stream.decode(generator.get_next_tokens()[0])
        return first - began, perf_counter() - first

    return run


def open_mlx(path: Path, _threads: int, _context_tokens: int) -> Run:
    """mlx-lm's own loop with its own greedy sampler; no text is made. MLX has no setting for threads."""
    import mlx.core as mx
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    model, _ = load_model(path)

    def run(prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        began = perf_counter()
        steps = generate_step(mx.array(prompt), model, max_tokens=tokens)
        next(steps)
        first = perf_counter()
        assert sum(1 for _ in steps) == tokens - 1
        return first - began, perf_counter() - first

    return run


def open_openvino(path: Path, threads: int, context_tokens: int) -> Run:
    """OpenVINO GenAI's own loop with its own greedy search and clock; no text is made."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import numpy as np
    import openvino
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = context_tokens // 32 + 1
    scheduler.max_num_seqs = 1
    properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    tokenizer = genai.Tokenizer(str(path))
    pipeline = genai.ContinuousBatchingPipeline(str(path), tokenizer, scheduler, "CPU", **properties)

    def run(prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        config = genai.GenerationConfig(max_new_tokens=tokens, ignore_eos=True)
        metrics = pipeline.generate([openvino.Tensor(np.array([prompt], np.int64))], [config])[0].perf_metrics
        assert metrics.get_num_generated_tokens() == tokens
        rest_s = metrics.get_tpot().mean / 1000 * (tokens - 1) if tokens > 1 else 0.0
        return metrics.get_ttft().mean / 1000, rest_s

    return run


def open_litert(path: Path, threads: int, context_tokens: int) -> Run:
    """LiteRT-LM without streaming: its own clock, nothing of Python between two tokens."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    engine = litert_lm.Engine(
        str(path),
        backend=litert_lm.Backend.CPU(thread_count=threads),
        max_num_tokens=context_tokens,
        cache_dir=":memory",
        enable_benchmark=True,
    )
    greedy = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=1)

    def run(prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        with engine.create_session(
            apply_prompt_template=False, sampler_config=greedy, max_output_tokens=tokens
        ) as session:
            began = perf_counter()
            session.run_prefill(["".join(map(chr, prompt))])
            read_s = perf_counter() - began
            session.run_decode()
            told = session.get_benchmark_info()
        assert told.last_decode_token_count == tokens
        each_s = 1 / told.last_decode_tokens_per_second
        return read_s + each_s, each_s * (tokens - 1)

    return run


OPEN: dict[str, Callable[[Path, int, int], Run]] = {
    "xllamacpp": open_xllamacpp,
    "llama-cpp-python": open_llama_cpp_python,
    "onnx": open_onnx,
    "mlx": open_mlx,
    "openvino": open_openvino,
    "litert": open_litert,
}


def main() -> None:
    """Load, say that it is done, and answer lines until there are none."""
    backend, path, threads, context_tokens = sys.argv[1:]
    answers = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - engines print to standard output too
    run = OPEN[backend](Path(path), int(threads), int(context_tokens))
    answers.write(json.dumps({"loaded": True}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        first_s, rest_s = run(asked["prompt"], asked["tokens"])
        answers.write(json.dumps({"first_s": first_s, "rest_s": rest_s}) + "\n")


if __name__ == "__main__":
    main()
