"""The builds in a repository that can be run, found by the files' names alone: no byte of a model is fetched for this.

* GGUF: every `.gguf`, shards together; vision projectors accompany a model and are none.
* ONNX Runtime GenAI: every folder with a `genai_config.json` of its own, never the folders below or above it.
* MLX: a root with `config.json` and safetensors, in a repository that says it is MLX (nothing in the files says so).
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from localfirst.errors import UnknownNameError
from localfirst.store.names import is_inert, is_projector
from localfirst.types import Architecture, Model, ModelFile, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localfirst.store.listing import HubFile, Listing
    from localfirst.types import Format, InstalledModel, Origin, Tier

# Who publishes under which name on huggingface.co; everyone else is community.
TIERS: dict[str, Tier] = {
    **dict.fromkeys(
        (
            "allenai", "apple", "arcee-ai", "coherelabs", "deepseek-ai", "facebook", "google", "huggingfacetb",
            "ibm-granite", "liquidai", "meta-llama", "microsoft", "mistralai", "nomic-ai", "nvidia", "openai",
            "openbmb", "prism-ml", "qwen", "tiiuae", "zai-org",
        ),
        "vendor",
    ),
    **dict.fromkeys(("amd", "intel", "litert-community", "mozilla-ai", "onnxruntime", "openvino"), "runtime-vendor"),
    **dict.fromkeys(
        ("executorch-community", "ggml-org", "lmstudio-community", "mlx-community", "onnx-community"), "platform"
    ),
}  # fmt: skip

_TASKS = {
    "feature-extraction": "embedding",
    "sentence-similarity": "embedding",
    "image-text-to-text": "vision-chat",
}

# Source: llama.cpp, `tools/quantize/quantize.cpp` and `include/llama.h` (llama_ftype); `I2_S` and `TL1/2`: bitnet.cpp.
_GGUF_QUANTIZATION = re.compile(
    r"(?<![a-z0-9])("
    r"iq[1-4]_(?:xxs|xs|s|m|nl)|q[2-8]_k(?:_(?:s|m|l|xl))?|q[1-8]_[01]|tq[12]_0|mxfp4(?:_moe)?|nvfp4"
    r"|i2_s|tl[12]|bf16|f16|f32|fp16|fp32|q[2-8]"
    r")(?![a-z0-9])"
)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PRECISION = re.compile(r"(?<![a-z0-9])(int4|int8|uint4|fp16|fp32|bf16|[2-8]bit|mxfp4|nvfp4)(?![a-z0-9])")

_GGUF_DEVICES = ("cpu", "cuda", "metal", "vulkan", "rocm")
# Words in the folder names of ONNX Runtime GenAI builds; `gpu` is meant for CUDA and DirectML alike.
_ONNX_DEVICES = {
    "cpu": ("cpu",),
    "cuda": ("cuda",),
    "directml": ("directml",),
    "gpu": ("cuda", "directml"),
    "webgpu": ("webgpu",),
    "qnn": ("qnn-npu",),
    "trtrtx": ("trt-rtx",),
    "openvino": ("openvino-npu",),
    "vitis": ("vitis-npu",),
    "ryzenai": ("vitis-npu",),
}


def find_tier(repo: str) -> Tier:
    """Who stands behind a repository, by its organisation."""
    return TIERS.get(repo.partition("/")[0].lower(), "community")


def find_gguf_quantization(path: str) -> str | None:
    """`Qwen3-8B-Q4_K_M.gguf` -> `Q4_K_M`; `None` where the name does not say."""
    found = _GGUF_QUANTIZATION.findall(path.rsplit("/", 1)[-1].lower())
    return found[-1].upper() if found else None


def find_precision(text: str) -> str | None:
    """`.../cpu-int4-rtn-block-32` -> `int4`: the last such word, or `None` where there is none."""
    found = _PRECISION.findall(text.lower())
    return found[-1] if found else None


def find_shards(paths: Iterable[str], first: str) -> tuple[str, ...] | None:
    """All shards of the GGUF that `first` belongs to, in order; itself if it has none; `None` if one is missing."""
    match = _SHARD.fullmatch(first)
    if match is None:
        return (first,)
    shards = {}
    for path in paths:
        other = _SHARD.fullmatch(path)
        if other and (other["stem"], other["count"]) == (match["stem"], match["count"]):
            shards[int(other["number"])] = path
    count = int(match["count"])
    return tuple(shards[number] for number in sorted(shards)) if sorted(shards) == list(range(1, count + 1)) else None


def describe_listing(listing: Listing, revision: str | None, file: str | None, page: str) -> Model:
    """A repository as a model of the catalog's kind. `file` keeps the builds that it names: a path, a folder, a name.

    Raises:
        UnknownNameError: nothing there can be run, or nothing is called `file`; the detail has what there is.
    """
    name = f"hf:{listing.repo}@{revision}" if revision else f"hf:{listing.repo}"
    variants = _name_apart([*_find_gguf(listing), *_find_onnx(listing), *_find_mlx(listing)])
    if not variants:
        raise UnknownNameError(
            f"`{name}` has no build that can be run here",
            detail="\n".join(item.path for item in listing.files[:20]),
            hint="Builds are .gguf files, folders with genai_config.json, and MLX repositories.",
        )
    variants = tuple(variant._replace(source=page) for variant in variants)
    return _make_model(listing, name, _keep(variants, file, name))


def _make_model(listing: Listing, name: str, variants: tuple[Variant, ...]) -> Model:
    return Model(
        name=name,
        title=listing.repo,
        vendor=listing.repo.split("/")[0],
        parameters=listing.parameters,
        active_parameters=None,
        task=_TASKS.get(listing.task or "", "chat"),
        license=listing.license or "unknown",
        license_url=None,
        family=listing.repo.split("/")[1].lower(),
        size=None,
        aliases=(),
        architecture=Architecture(context_tokens=listing.context_tokens),
        variants=variants,
    )


def describe_checkpoint(listing: Listing, paths: Sequence[str]) -> tuple[Model, Variant]:
    """Some files of a repository that something is to be made of, as a model and its only variant."""
    files = [file for file in listing.files if file.path in paths]
    variant = _make_variant(listing, "safetensors", None, files)._replace(name="checkpoint")
    return _make_model(listing, f"hf:{listing.repo}", (variant,)), variant


def describe_installed(models: Sequence[InstalledModel], file: str | None) -> Model:
    """The same from what is on this disk (never empty).

    Raises:
        UnknownNameError: nothing installed is called `file`.
    """
    first = models[0]
    repo = first.repo or ""
    variants = tuple(
        Variant(
            name=model.variant,
            format=model.format,
            quantization=model.quantization or "unknown",
            origin=_find_origin(repo),
            tier=find_tier(repo),
            host="huggingface",
            repo=repo,
            revision=model.revision,
            files=tuple(ModelFile(item.path, item.size_bytes, item.sha256) for item in model.files),
            devices=_find_devices(model.format, model.files[0].path),
            size_bytes=model.size_bytes,
            gated=False,
            confidence="page",
            source="installed",
        )
        for model in models
    )
    return Model(
        name=first.name,
        title=first.title or repo,
        vendor=repo.split("/")[0],
        parameters=None,
        active_parameters=None,
        task="chat",
        license=first.license or "unknown",
        license_url=None,
        family=repo.split("/")[-1].lower(),
        size=None,
        aliases=(),
        architecture=Architecture(),
        variants=_keep(variants, file, first.name),
    )


def _keep(variants: tuple[Variant, ...], file: str | None, name: str) -> tuple[Variant, ...]:
    if file is None:
        return variants
    wanted = file.lower().strip("/")
    kept = tuple(variant for variant in variants if wanted in _labels(variant))
    if kept:
        return kept
    labels = {label: variant.files[0].path for variant in variants for label in sorted(_labels(variant))}
    close = difflib.get_close_matches(wanted, labels, n=1)
    raise UnknownNameError(
        f"`{name}` has no `{file}` that can be run",
        detail="\n".join(f"{variant.name}  {variant.files[0].path}" for variant in variants),
        hint=f"Did you mean `{labels[close[0]]}`?" if close else None,
    )


def _labels(variant: Variant) -> set[str]:
    """All that a user may call a build after the colon, in lower case."""
    paths = [file.path.lower() for file in variant.files]
    folders = {path.rpartition("/")[0] for path in paths} - {""} if variant.format != "gguf" else set()
    models = {path for path in paths if path.endswith(".gguf")} if variant.format == "gguf" else set()
    return {variant.name, variant.quantization.lower(), *folders, *models, *(path.split("/")[-1] for path in models)}


def _name_apart(builds: list[tuple[str, str, Variant]]) -> tuple[Variant, ...]:
    """Give each build the short name if no other wants it, else the long one, which is unique."""
    short_names = [short for short, _, _ in builds]
    return tuple(
        variant._replace(name=short if short_names.count(short) == 1 else long) for short, long, variant in builds
    )


def _make_variant(
    listing: Listing, model_format: Format, quantization: str | None, files: Sequence[HubFile]
) -> Variant:
    return Variant(
        name="",
        format=model_format,
        quantization=quantization or "unknown",
        origin=_find_origin(listing.repo + files[0].path),
        tier=find_tier(listing.repo),
        host="huggingface",
        repo=listing.repo,
        revision=listing.commit,
        files=tuple(ModelFile(file.path, file.size_bytes, file.sha256) for file in files),
        devices=_find_devices(model_format, f"{listing.repo.split('/')[1]}/{files[0].path}"),
        size_bytes=sum(file.size_bytes for file in files),
        gated=listing.gated,
        confidence="page",
        source="",
    )


def _find_origin(text: str) -> Origin:
    vendor = find_tier(text) == "vendor"
    if re.search(r"(?<![a-z])qat(?![a-z])", text.lower()):
        return "qat" if vendor else "qat-derived"
    return "vendor-ptq" if vendor else "community"


def _find_devices(model_format: Format, path: str) -> tuple[str, ...]:
    if model_format == "gguf":
        return _GGUF_DEVICES
    if model_format == "mlx":
        return ("metal",)
    words = re.split(r"[^a-z0-9]+", path.lower())
    # The last word counts: `cpu_and_mobile/cpu-int4`, `gpu/cuda-int4`. Unnamed folders are the exporter's default, CPU.
    return next((_ONNX_DEVICES[word] for word in reversed(words) if word in _ONNX_DEVICES), ("cpu",))


def _find_gguf(listing: Listing) -> list[tuple[str, str, Variant]]:
    files = {file.path: file for file in listing.files if file.path.lower().endswith(".gguf")}
    found, seen = [], set[str]()
    for path in files:
        shards = find_shards(files, path)
        if is_projector(path) or path in seen or shards is None:
            continue
        seen.update(shards)
        quantization = find_gguf_quantization(path)
        long = re.sub(r"(-00001-of-\d{5})?\.gguf$", "", path.lower()).replace("/", "-")
        variant = _make_variant(listing, "gguf", quantization, [files[shard] for shard in shards])
        found.append(((quantization or long).lower(), long, variant))
    return found


def _find_onnx(listing: Listing) -> list[tuple[str, str, Variant]]:
    found = []
    for config in listing.files:
        folder, _, name = config.path.rpartition("/")
        if name != "genai_config.json":
            continue
        files = [
            file for file in listing.files if file.path.rpartition("/")[0] == folder and is_inert(file.path, "onnx")
        ]
        if any(file.path.endswith(".onnx") for file in files):
            variant = _make_variant(listing, "onnx", find_precision(f"{listing.repo}/{folder}"), files)
            found.append((folder.rsplit("/", 1)[-1].lower() or "onnx", folder.lower().replace("/", "-"), variant))
    return found


def _find_mlx(listing: Listing) -> list[tuple[str, str, Variant]]:
    files = [file for file in listing.files if "/" not in file.path and is_inert(file.path, "mlx")]
    names = {file.path for file in files}
    says_mlx = re.search(r"(?<![a-z])mlx(?![a-z])", listing.repo.lower()) is not None
    if not says_mlx or "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        return []
    quantization = find_precision(listing.repo)
    return [(quantization or "mlx", "mlx", _make_variant(listing, "mlx", quantization, files))]
