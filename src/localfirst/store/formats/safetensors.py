"""Folders with `config.json` and safetensors: MLX, and the formats of server engines (GPTQ, AWQ, FP8, ...).

Source: safetensors, README "Format": u64 length, a JSON header of tensors with `dtype`, `shape`, `data_offsets`, then
the tensors, without holes.
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.store.builds import find_precision
from localfirst.store.formats.configuration import parse_architecture
from localfirst.store.formats.found import Found, Told, check_named, check_regular, keep_inert, read_head, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from localfirst.types import Format

MARKER = "config.json"
MOST_HEADER_BYTES = 8 * 2**20
"""The library allows 100 MB; 50,000 tensors take this much."""
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_SCALES, _BIASES = ".scales", ".biases"
MOST_GROUP = 4096
_WEIGHTS = (".safetensors", ".gguf", ".onnx", ".onnx_data", ".onnx.data", ".litertlm")


class Tensor(NamedTuple):
    """A tensor of a file, by its header."""

    shape: tuple[int, ...]
    begin: int
    end: int


def find(folder: Path, names: frozenset[str]) -> Found:
    """The model in a folder that has these files.

    Raises:
        ModelFileError: damaged, incomplete, or it asks for code of its own to be run.
        OSError: it cannot be read.
    """
    config = read_json(folder / MARKER)
    # mlx-lm before 0.32.2 runs the Python file named by `model_file` (CVE-2026-5843); `auto_map` does so elsewhere.
    code = sorted({"auto_map", "model_file"} & config.keys())
    if code:
        raise ModelFileError(
            f"{folder} asks for code of its own to be run, which is never done",
            detail=f"config.json: {', '.join(code)}",
            hint="Use a build of the model that needs none, such as a .gguf file.",
        )
    index = folder / "model.safetensors.index.json"
    weights = read_json(index).get("weight_map") if index.name in names else None
    shards = {str(shard) for shard in weights.values()} if isinstance(weights, dict) else set()
    check_named(folder, shards | {"tokenizer.json"}, names)
    model_format: Format = "safetensors" if _find_method(config) else "mlx"
    files = keep_inert(names - _find_other_weights(names, shards), model_format)
    for name in files:
        read_head(folder / name)
        if name.endswith(".safetensors"):
            read_tensors(folder / name)
    return Found(model_format, folder, files, _find_quantization(config) or find_precision(folder.name))


def tell(main: Path, files: Sequence[Path]) -> Told:
    """What configuration and headers tell.

    Raises:
        ModelFileError: they are damaged.
        OSError: they cannot be read.
    """
    shards = [read_tensors(file) for file in files if file.name.endswith(".safetensors")]
    tensors = {name: tensor for shard in shards for name, tensor in shard.items()}
    config = read_json(main / MARKER)
    architecture = parse_architecture(config)
    if architecture.tied is None:  # left out where it is what the architecture does by itself
        architecture = architecture._replace(tied=not any(name.endswith("lm_head.weight") for name in tensors))
    return Told(architecture, parameters=sum(_count(tensors, config)) or None)


def _find_other_weights(names: frozenset[str], shards: set[str]) -> set[str]:
    """What a clone of a repository has beside this model: the same weights in other files and formats.

    Source: mlx-lm, `utils.py`, `load_model`, which reads `model*.safetensors`.
    """
    weights = {name for name in names if name.endswith(_WEIGHTS)}
    own = {name for name in weights if name.endswith(".safetensors")}
    return weights - (shards or {name for name in own if name.startswith("model")} or own)


def _find_method(config: Mapping[str, object]) -> str | None:
    """`gptq`, `awq`, `fp8`, ...: a quantization that MLX does not have. MLX's own names none of these."""
    quantization = config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    return method if isinstance(method, str) and method.isprintable() else None


def _find_quantization(config: Mapping[str, object]) -> str | None:
    bits = _find_packing(config, "").get("bits")
    return f"{bits}bit" if isinstance(bits, int) and 0 < bits <= 16 else _find_method(config)


def _find_packing(config: Mapping[str, object], layer: str) -> dict[str, object]:
    """How a layer's numbers are packed: as it says itself, or as all are.

    Source: mlx-lm, `utils.py`, `quantize_model`: `{"quantization": {"group_size": 64, "bits": 4, LAYER: {...}}}`.
    """
    quantization = config.get("quantization")
    if not isinstance(quantization, dict):
        return {}
    own = quantization.get(layer)
    return {**quantization, **own} if isinstance(own, dict) else quantization


def _count(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> Iterator[int]:
    """Parameters of each tensor. MLX packs a matrix's numbers, and gives each group of them a scale and a bias."""
    for name, tensor in tensors.items():
        layer = name.removesuffix(".weight")
        scales, group = tensors.get(layer + _SCALES), _find_packing(config, layer).get("group_size")
        if name.endswith((_SCALES, _BIASES)):
            continue
        if scales is not None and isinstance(group, int) and 0 < group <= MOST_GROUP:
            yield prod(scales.shape) * group
        else:
            yield prod(tensor.shape)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name, after comparing every place in its header with the file's size.

    Raises:
        ModelFileError: damaged or cut off.
        OSError: it cannot be read.
    """
    check_regular(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, MOST_HEADER_BYTES):
            raise ModelFileError(f"{path.name} is truncated or no safetensors file", detail=str(path))
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_refuse_twins)
        tensors = {name: _parse_tensor(one) for name, one in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{path.name} has a damaged header", detail=f"{path}\n{error}"[:1000], hint="Download the file again."
        ) from error
    end = _check_places(path, tensors)
    if 8 + length + end != size:
        raise ModelFileError(
            f"{path.name} is truncated: {size} bytes instead of {8 + length + end}",
            detail=str(path),
            hint="Download the file again.",
        )
    return tensors


def _refuse_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice")
    return values


def _parse_tensor(record: Mapping[str, object]) -> Tensor:
    shape, offsets = _parse_counts(record["shape"]), _parse_counts(record["data_offsets"])
    begin, end = offsets
    if 8 * (end - begin) != prod(shape) * _BITS[str(record["dtype"])]:
        raise ValueError(f"a tensor of shape {list(shape)} has {end - begin} bytes")
    return Tensor(shape, begin, end)


def _parse_counts(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 8 or not all(map(_is_count, value)):
        raise ValueError("a shape or place is no list of sizes")
    return tuple(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_places(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Where the last tensor ends; refuse holes and overlaps, in which a file may be two things at once."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][1:]):
        if tensor.begin != end:
            raise ModelFileError(
                f"{path.name} has a damaged header",
                detail=f"{path}\ntensor {name[:80]!a} begins at {tensor.begin}, not at {end}",
            )
        end = tensor.end
    return end
