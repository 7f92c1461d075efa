"""Ollama's models: `manifests/<registry>/<namespace>/<model>/<tag>`, JSON whose layers are `blobs/sha256-<digest>`.

Newer releases have `manifests-v2` too, with links to manifests that are blobs themselves, and lists of manifests, one
for each engine. Source: ollama/ollama, `manifest/manifest.go`, `manifest/paths.go`, `server/images.go`; of the folders:
its `docs/faq.mdx`, and the packages of Arch Linux and NixOS, whose service has its home in `/var/lib/ollama`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst.errors import ModelFileError
from localfirst.store.foreign.tool import (
    Build,
    ForeignFile,
    NotOursError,
    Refusal,
    Tool,
    find_user_folder,
    is_inside,
    list_folder,
    list_folders,
    measure,
    read_json,
    read_places,
)
from localfirst.store.formats import recognise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.store.foreign.tool import Finding

KEEPER = "ollama"
_MANIFESTS = ("manifests-v2", "manifests")
_DIGEST = r"sha256[:-]([0-9a-f]{64})"
_PART = r"[A-Za-z0-9][\w.:-]{0,127}"
_LIBRARY = ("registry.ollama.ai", "library")
_TYPE = "application/vnd.ollama.image."
_WHOLE_TYPES = {f"{_TYPE}{kind}": kind for kind in ("model", "projector", "adapter", "tensor")}
"""Layers with weights. All others (template, system, params, license, ...) are not needed: a GGUF file has its own."""
_SYSTEM_FOLDERS = (
    Path("/usr/share/ollama/.ollama/models"),
    Path("/var/lib/ollama/.ollama/models"),
    Path("/var/lib/ollama/models"),
    Path("/var/lib/ollama"),
)


class _Layer(NamedTuple):
    kind: str
    sha256: str
    size_bytes: int


def find_folders(environment: Mapping[str, str]) -> Sequence[Path]:
    """The user's own folder, and those of a service, which has a user of its own."""
    own = next(read_places(environment, "OLLAMA_MODELS"), find_user_folder(environment) / ".ollama" / "models")
    return (own, *(() if os.name == "nt" else _SYSTEM_FOLDERS))


def find_findings(folder: Path) -> Iterator[Finding]:
    """Every model that a manifest names."""
    seen = set[str]()
    for path, label, name in _find_manifests(folder):
        if label in seen:
            continue
        seen.add(label)
        try:
            yield _make(folder, label, name, path)
        except NotOursError as refused:
            yield Refusal(KEEPER, label, refused.state, refused.reason)
        except ModelFileError as error:
            yield Refusal(KEEPER, label, "unusable", _shorten(error.message))
        except OSError as error:
            yield Refusal(KEEPER, label, "unusable", f"it cannot be read: {error.strerror}")


def find_files(folder: Path) -> Iterator[ForeignFile]:
    """All blobs that are whole, as far as names tell."""
    if not (folder / "blobs").is_dir():
        return
    for entry in list_folder(folder / "blobs"):
        match = re.fullmatch(_DIGEST, entry.name)
        size = measure(Path(entry.path)) if match and entry.is_file(follow_symlinks=False) else None
        if match and size is not None:
            yield ForeignFile(KEEPER, Path(entry.path), size, match[1])


def _find_manifests(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Each manifest, what Ollama calls its model, and the part of that which is not where it comes from."""
    for top in _MANIFESTS:
        if not (folder / top).is_dir():
            continue
        models = (
            (registry, namespace, model)
            for registry in list_folders(folder / top)
            for namespace in list_folders(registry)
            for model in list_folders(namespace)
        )
        for registry, namespace, model in models:
            for entry in list_folder(model):
                parts = (registry.name, namespace.name, model.name, entry.name)
                if all(re.fullmatch(_PART, part) for part in parts) and not entry.is_dir():
                    tag = "" if entry.name == "latest" else f"-{entry.name}"
                    yield Path(entry.path), _name(parts), f"{model.name}{tag}"


def _name(parts: tuple[str, str, str, str]) -> str:
    """`llama3.2:3b`, `someone/model:latest`, `hf.co/org/repo:Q4_K_M`: as `ollama list` has it."""
    registry, namespace, model, tag = parts
    start = () if parts[:2] == _LIBRARY else (namespace,) if registry == _LIBRARY[0] else (registry, namespace)
    return "/".join((*start, f"{model}:{tag}"))


def _make(folder: Path, label: str, name: str, path: Path) -> Build:
    if not is_inside(path, (folder,)):
        raise NotOursError("unusable", "its manifest is a link to elsewhere")
    record = _choose(folder, read_json(path))
    layers = _parse_layers(record)
    models = [layer for layer in layers if layer.kind == "model"]
    _check_kinds(folder, record, layers, models)
    used = [*models, *(layer for layer in layers if layer.kind == "projector")]
    files = tuple(_find_blob(folder, layer) for layer in used)
    found = recognise(files[0].path)
    return Build(KEEPER, label, name, found.format, found.quantization, folder / "blobs", files)


def _choose(folder: Path, record: dict[str, object]) -> dict[str, object]:
    """The manifest; of a list of such, the first that has a model in one file."""
    listed = record.get("manifests")
    if not isinstance(listed, list) or not listed:
        return record
    for one in listed[:16]:
        if not isinstance(one, dict):
            continue
        digest = one.get("digest")
        inner = read_json(_find_path(folder, digest)) if isinstance(digest, str) and "layers" not in one else one
        if any(layer.kind == "model" for layer in _parse_layers(inner)):
            return inner
    return listed[0] if isinstance(listed[0], dict) else {}


def _parse_layers(record: Mapping[str, object]) -> tuple[_Layer, ...]:
    layers = record.get("layers")
    if not isinstance(layers, list):
        return ()
    return tuple(_parse_layer(layer) for layer in layers)


def _parse_layer(layer: object) -> _Layer:
    if not isinstance(layer, dict):
        raise NotOursError("unusable", "its manifest is damaged: a layer is no object")
    kind, digest, size = layer.get("mediaType"), layer.get("digest"), layer.get("size")
    if not isinstance(kind, str) or not isinstance(digest, str):
        raise NotOursError("unusable", "its manifest is damaged: a layer has no type or digest")
    match = re.fullmatch(_DIGEST, digest)
    if match is None:
        raise NotOursError("unusable", "its manifest has a digest that is none")
    if type(size) is not int or size < 0:
        raise NotOursError("unusable", "its manifest has a size that is none")
    return _Layer(_WHOLE_TYPES.get(kind.partition(";")[0].strip(), ""), match[1], size)


def _check_kinds(
    folder: Path, record: Mapping[str, object], layers: Sequence[_Layer], models: Sequence[_Layer]
) -> None:
    """Refuse what is not one file of weights and, at most, projectors."""
    kinds = {layer.kind for layer in layers}
    if "adapter" in kinds:
        raise NotOursError("unusable", "it is a model with an adapter (LoRA), which lf does not apply")
    if not models and "tensor" in kinds:
        raise NotOursError("unusable", "its weights are single tensors, which only Ollama's own engine reads")
    if not models and _is_remote(folder, record):
        raise NotOursError("unusable", "it runs in Ollama's cloud; no weights are on this disk")
    if len(models) != 1:
        raise NotOursError("unusable", f"it has {len(models) or 'no'} files of weights, where one is expected")


def _is_remote(folder: Path, record: Mapping[str, object]) -> bool:
    """Source: ollama/ollama, `types/model/config.go`, `remote_host` and `remote_model`."""
    config = record.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if not isinstance(digest, str):
        return False
    path = _find_path(folder, digest)
    told = read_json(path) if measure(path) is not None else {}
    return bool(told.get("remote_host") or told.get("remote_model"))


def _find_path(folder: Path, digest: str) -> Path:
    match = re.fullmatch(_DIGEST, digest)
    if match is None:
        raise NotOursError("unusable", "its manifest has a digest that is none")
    path = folder / "blobs" / f"sha256-{match[1]}"
    if not is_inside(path, (folder,)):
        raise NotOursError("unusable", "one of its files is a link to elsewhere")
    return path


def _find_blob(folder: Path, layer: _Layer) -> ForeignFile:
    path = _find_path(folder, f"sha256:{layer.sha256}")
    size = measure(path)
    if size is None:
        begun = any(path.parent.glob(f"{path.name}-partial*"))
        raise NotOursError("incomplete", "its download has not ended" if begun else "its weights are not there")
    if size != layer.size_bytes:
        raise NotOursError("incomplete", f"its weights have {size} bytes, its manifest says {layer.size_bytes}")
    return ForeignFile(KEEPER, path, size, layer.sha256)


def _shorten(text: str) -> str:
    """A message without the 64 digits of a blob's name."""
    return re.sub(r"sha256-([0-9a-f]{12})[0-9a-f]{52}", r"sha256-\1", text)


TOOL = Tool("ollama", KEEPER, find_folders, find_findings, find_files)
