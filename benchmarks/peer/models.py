"""The models that peers are compared on: the starter, networks of random weights made on the spot, and any file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.overhead import BENCHES, VOCABULARY
from benchmarks.overhead import SHAPE as SMALL
from tests.fixtures.scripted.network import Shape

import localfirst.starter

STARTER = Path(localfirst.starter.__file__).parent
LARGE = Shape(hidden=1280, layers=16, heads=20, kv_heads=4, feed_forward=4096, context=2048)
MAKERS = {"gguf": "xllamacpp", "onnx": "onnx", "mlx": "mlx", "litert": "litert"}
"""By which bench of `benchmarks/overhead.py` a random network is written in a format."""
CONTEXT_TOKENS = 2048


class Model(NamedTuple):
    """Something to run, and how much of it."""

    name: str
    make: Callable[[str, Path], Path | None]
    """Its file or folder in a format, made in a folder that is given; `None` where it has none."""
    prompt_tokens: int
    tokens: int


def find_starter(file_format: str, _folder: Path) -> Path:
    """The starter in a format."""
    found = {"gguf": "gguf/starter-q4_0.gguf", "litert": "litert/starter.litertlm"}
    return STARTER / found.get(file_format, file_format)


def make_random(shape: Shape, file_format: str, folder: Path) -> Path | None:
    """A network of random weights in 4 bits; of MLX's only on a Mac: its build for processors takes minutes."""
    if file_format == "mlx" and sys.platform != "darwin":
        return None
    bench = BENCHES[MAKERS[file_format]]
    path = folder / bench.file_name
    bench.make_random(path, shape, vocabulary_size=VOCABULARY)
    if file_format == "mlx":
        _simplify_tokens(path / "tokenizer_config.json")
    return path


def find_file(path: Path, file_format: str, _folder: Path) -> Path | None:
    """A file or folder of the user's, if it is of that format."""
    return path if file_format == find_format(path) else None


def find_format(path: Path) -> str | None:
    """The format of a file or folder by its name and what is in it; `None` for any other."""
    if path.is_dir():
        return "onnx" if (path / "genai_config.json").is_file() else "mlx" if (path / "config.json").is_file() else None
    return {".gguf": "gguf", ".litertlm": "litert"}.get(path.suffix.lower())


def find_models(names: Sequence[str], prompt_tokens: int | None, tokens: int | None) -> list[Model]:
    """The models that are asked for.

    Raises:
        ValueError: one is none.
    """
    models = []
    for name in names:
        model = BUILT_IN.get(name)
        if model is None:
            path = Path(name)
            if not path.exists() or find_format(path) is None:
                known = ", ".join(BUILT_IN)
                raise ValueError(f"{name} is none of {known}, no GGUF or LiteRT-LM file, and no folder of ONNX or MLX")
            model = Model(path.name, partial(find_file, path.resolve()), 512, 64)
        models.append(model._replace(prompt_tokens=prompt_tokens or model.prompt_tokens, tokens=tokens or model.tokens))
    return models


def _simplify_tokens(path: Path) -> None:
    """Write special tokens as texts: transformers, which mlx_lm's server has and lf has not, takes no other form."""
    said = json.loads(path.read_text(encoding="utf-8"))
    plain = {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in said.items()
    }
    path.write_text(json.dumps(plain), encoding="utf-8")


BUILT_IN = {
    "starter": Model("starter (2.6 M)", find_starter, 512, 256),
    "random-125m": Model("random weights, 125 M", partial(make_random, SMALL), 512, 64),
    "random-400m": Model("random weights, 400 M", partial(make_random, LARGE), 512, 64),
}
