"""Greedy answers and token ids from the real engines, for the evaluation."""

from __future__ import annotations

import itertools
import json
import os
import urllib.request
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

MAX_TOKENS = 160


class Engine(Protocol):
    """What the evaluation needs of an engine."""

    def tokens(self, text: str) -> list[int]:
        """Token ids of `text`, special tokens recognised."""

    def answer(self, prompt: str) -> str:
        """The greedy continuation of a rendered prompt."""


class LlamaCpp:
    """The GGUF file in llama.cpp."""

    def __init__(self, path: Path, threads: int) -> None:
        import xllamacpp  # noqa: PLC0415 - only the engine that is asked for

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = 1024, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.verbosity = -1
        params.warmup = False
        self.server = xllamacpp.Server(params)

    def tokens(self, text: str) -> list[int]:
        """Token ids of `text`, from the server's own loopback address."""
        body = json.dumps({"content": text, "parse_special": True}).encode()
        request = urllib.request.Request(self.server.listening_address + "/tokenize", body)  # noqa: S310
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return json.load(reply)["tokens"]

    def answer(self, prompt: str) -> str:
        """The greedy continuation of a rendered prompt."""
        request = {"prompt": prompt, "n_predict": MAX_TOKENS, "temperature": 0, "top_k": 1, "cache_prompt": False}
        return self.server.handle_completions(request)["choices"][0]["text"]


class OnnxGenai:
    """The ONNX folder in onnxruntime-genai."""

    def __init__(self, folder: Path, threads: int) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime_genai  # noqa: PLC0415 - after the switch above

        self.genai = onnxruntime_genai
        config = onnxruntime_genai.Config(str(folder))
        config.clear_providers()
        options = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": "0"}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self.model = onnxruntime_genai.Model(config)
        self.tokenizer = onnxruntime_genai.Tokenizer(self.model)
        added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
        self.special = {token["id"] for token in added if token["special"]}

    def tokens(self, text: str) -> list[int]:
        """Token ids of `text`."""
        return [int(token) for token in self.tokenizer.encode(text)]

    def render(self, question: str) -> str:
        """The engine's own rendering of the folder's chat template."""
        messages = json.dumps([{"role": "user", "content": question}])
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)

    def answer(self, prompt: str) -> str:
        """The greedy continuation of a rendered prompt."""
        ids = self.tokens(prompt)
        params = self.genai.GeneratorParams(self.model)
        params.set_search_options(max_length=len(ids) + MAX_TOKENS, do_sample=False)
        generator = self.genai.Generator(self.model, params)
        generator.append_tokens(ids)
        out = []
        while not generator.is_done():
            generator.generate_next_token()
            out.append(int(generator.get_next_tokens()[0]))
        return self.tokenizer.decode([token for token in out if token not in self.special])


class MlxLm:
    """The MLX folder in mlx-lm."""

    def __init__(self, folder: Path, _threads: int) -> None:
        import mlx.core  # noqa: PLC0415 - only the engine that is asked for
        from mlx_lm.generate import generate_step  # noqa: PLC0415
        from mlx_lm.utils import load_model  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        self.array, self.steps = mlx.core.array, generate_step
        self.model, config = load_model(folder)
        self.end = config["eos_token_id"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def tokens(self, text: str) -> list[int]:
        """Token ids of `text`."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def answer(self, prompt: str) -> str:
        """The greedy continuation of a rendered prompt."""
        steps = self.steps(self.array(self.tokens(prompt)), self.model, max_tokens=MAX_TOKENS)
        out = itertools.takewhile(lambda token: token != self.end, (token for token, _ in steps))
        return self.tokenizer.decode(list(out))
