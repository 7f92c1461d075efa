"""A checkpoint in Hugging Face's layout, as a converter reads it: `config.json`, a tokenizer, safetensors.

It is looked at before any other program reads it: no code, no pickles, no numbers that are quantized already.
"""

from __future__ import annotations

import re
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError, UsageError
from localfirst.store.disk import hash_file
from localfirst.store.formats.configuration import parse_architecture
from localfirst.store.formats.found import check_named, list_files, read_head, read_json
from localfirst.store.formats.safetensors import read_tensors
from localfirst.store.names import is_inert
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from localfirst.store.progress import Meter
    from localfirst.types import Architecture

CONFIG, INDEX, WEIGHTS = "config.json", "model.safetensors.index.json", ".safetensors"
_OTHER_WEIGHTS = (".gguf", ".onnx", ".onnx_data", ".onnx.data", ".litertlm", ".llamafile")
_CODE = ".py"
_ADAPTER = "adapter_config.json"
"""With it, transformers adds the adapter that it names to the weights."""
_TOKENIZERS = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})
_SENTENCEPIECE = ".model"
"""Files that transformers makes a tokenizer of. Source: transformers, `tokenization_utils_base.py`,
`convert_slow_tokenizer.py`."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
"""In the name of a tensor; all architectures that a builder here knows call it so."""
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class Shape(NamedTuple):
    """What a checkpoint's configuration tells."""

    architecture: str | None
    """The first of `architectures`, as `LlamaForCausalLM`."""
    numbers: Architecture
    dtype: str | None
    """`bfloat16`, ...: what its weights are stored as."""

    @property
    def embedding(self) -> int:
        """The parameters of the embedding; 0 where the configuration does not tell them."""
        return (self.numbers.vocab_size or 0) * (self.numbers.hidden_size or 0)

    def count_parameters(self, weights_bytes: int) -> int:
        """The parameters, by the size of the weights; stored in 16 bits where nothing is said."""
        return weights_bytes // _BYTES.get(self.dtype or "", 2)


def read_shape(folder: Path) -> Shape:
    """What the configuration in a folder tells; of its files no other has to be there.

    Raises:
        ModelFileError: damaged, it asks for code to be run, or is of weights that are quantized.
        OSError: it cannot be read.
    """
    config = read_json(folder / CONFIG)
    _check_code(CONFIG, config)
    if quantized := _find_quantization(config):
        raise ModelFileError(
            f"The checkpoint is quantized already: {quantized}",
            detail=str(folder / CONFIG),
            hint="Give the weights that it was made from, in 16 or 32 bits.",
        )
    named = config.get("architectures")
    inner = config.get("text_config")
    dtype = next((config[key] for key in ("dtype", "torch_dtype") if isinstance(config.get(key), str)), None)
    if dtype is None and isinstance(inner, dict):
        dtype = inner.get("dtype") or inner.get("torch_dtype")
    return Shape(
        architecture=named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None,
        numbers=parse_architecture(config),
        dtype=dtype if isinstance(dtype, str) else None,
    )


def check_folder(folder: Path) -> tuple[str, ...]:
    """The files of the checkpoint in a folder, each looked at.

    Raises:
        UsageError: no such folder.
        ModelFileError: no checkpoint, incomplete, damaged, or with code in it.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}", hint="Give a folder with config.json and .safetensors files.")
    names = list_files(folder)
    if CONFIG not in names or not any(name.endswith(WEIGHTS) for name in names):
        raise ModelFileError(
            f"{folder} is no checkpoint",
            detail="It has no config.json with .safetensors files beside it.",
            hint="Give a folder, or hf:ORGANISATION/REPOSITORY, with the original weights of a model.",
        )
    if code := sorted(name for name in names if name.endswith(_CODE)):
        raise _refuse_code(str(folder), ", ".join(code))
    chosen = choose_files(names)
    for name in chosen:
        read_head(folder / name)
        if name.endswith(".json") and name != INDEX:
            _check_config(folder / name)
    index = read_json(folder / INDEX).get("weight_map") if INDEX in names else None
    shards = {str(shard) for shard in index.values()} if isinstance(index, dict) else set()
    check_named(folder, {*shards, *chosen}, names)
    for name in chosen:
        if name.endswith(WEIGHTS):
            read_tensors(folder / name)
    return chosen


def check_whole(shape: Shape, names: Iterable[str], parameters: int, tensors: Iterable[str] | None = None) -> None:
    """See that what a converter needs is there: a tokenizer, and weights for what the configuration tells.

    `parameters` are those of the weights. The names of the tensors are only known where the files are at hand.

    Raises:
        ModelFileError: something is not; it is named.
    """
    names = set(names)
    if not any(name.endswith(_SENTENCEPIECE) for name in names) and not any(one <= names for one in _TOKENIZERS):
        raise _refuse_part(
            "no tokenizer", "It has neither tokenizer.json nor tokenizer.model, nor vocab.json with merges.txt"
        )
    if parameters < max(1, shape.embedding):
        least = f", of which its embedding alone takes {shape.embedding:,}" if shape.embedding else ""
        raise _refuse_part("no weights", f"Its weights are {parameters:,} numbers{least}")
    if tensors is None:
        return
    there = {int(found[1]) for name in tensors if (found := _LAYER.search(name))}
    if missing := sorted(set(range(shape.numbers.layers or 0)) - there):
        some = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise _refuse_part("not all of its weights", f"Of its {shape.numbers.layers} layers these have none: {some}")


def _refuse_part(what: str, detail: str) -> ModelFileError:
    return ModelFileError(
        f"The checkpoint has {what}",
        detail=detail,
        hint="Give a folder, or hf:ORGANISATION/REPOSITORY, with all the original files of a model.",
    )


def choose_files(names: Iterable[str]) -> tuple[str, ...]:
    """Those of a repository's or folder's files that a converter reads; weights of other kinds are none of them.

    Raises:
        ModelFileError: there is an adapter, which would be added to the weights.
    """
    own = [name for name in names if "/" not in name and is_inert(name, "safetensors")]
    if _ADAPTER in own:
        raise ModelFileError("This is an adapter, not a model", detail=_ADAPTER, hint="Merge it into its model first.")
    named = {name for name in own if name.endswith(WEIGHTS) and name.startswith("model")}
    weights = named or {name for name in own if name.endswith(WEIGHTS)}
    others = (WEIGHTS, *_OTHER_WEIGHTS)
    return tuple(sorted({name for name in own if not name.lower().endswith(others)} | weights))


def count_parameters(folder: Path, files: Iterable[str]) -> dict[str, int]:
    """The parameters in a folder's weights, by the name of their tensor.

    Raises:
        ModelFileError: damaged.
        OSError: they cannot be read.
    """
    return {
        tensor: prod(told.shape)
        for name in files
        if name.endswith(WEIGHTS)
        for tensor, told in read_tensors(folder / name).items()
    }


def hash_files(folder: Path, files: Iterable[str], meter: Meter) -> tuple[InstalledFile, ...]:
    """The files with their digests; the meter counts the bytes read.

    Raises:
        OSError: they cannot be read.
    """
    return tuple(
        InstalledFile(name, (folder / name).stat().st_size, hash_file(folder / name, partial(meter.add, file=name)))
        for name in files
    )


def _check_config(path: Path) -> None:
    """Refuse a configuration that names code; a vocabulary of a tokenizer may be long, and names none."""
    if path.name.endswith("config.json"):
        _check_code(path.name, read_json(path))


def _check_code(name: str, config: Mapping[str, object]) -> None:
    if code := sorted({"auto_map", "model_file"} & config.keys()):
        raise _refuse_code(name, ", ".join(code))


def _refuse_code(where: str, what: str) -> ModelFileError:
    return ModelFileError(
        "The checkpoint asks for code of its own to be run, which is never done",
        detail=f"{where}: {what}",
        hint="Use a build of the model that needs none: `lf list` shows those that there are.",
    )


def _find_quantization(config: Mapping[str, object]) -> str | None:
    """How the weights are quantized: by a method with a name, or by MLX, which calls it none."""
    inner = config.get("text_config")
    for one in (config, inner if isinstance(inner, dict) else {}):
        method = one.get("quantization_config") or one.get("quantization")
        if isinstance(method, dict):
            named = method.get("quant_method") or method.get("quant_algo") or "MLX"
            return str(named) if str(named).isprintable() else "?"
    return None
