"""A model on this disk that the catalog does not know, described from its own files."""

from __future__ import annotations

import json

from localfirst import gguf
from localfirst.errors import ModelFileError
from localfirst.store import layout
from localfirst.types import Architecture, InstalledModel, KvGroup, Model, ModelFile, Variant


def describe(installed: InstalledModel) -> Model:
    """The model as a catalog entry of one variant, without an architecture where its files cannot be read any more."""
    try:
        architecture = read_architecture(installed)
    except ModelFileError:
        architecture = Architecture()
    return Model(
        name=installed.name,
        title=installed.title or installed.name,
        vendor="you" if installed.host == "import" else (installed.repo or "").partition("/")[0],
        parameters=None,
        active_parameters=None,
        task="chat",
        license="unknown",
        license_url=None,
        family=installed.name,
        size=None,
        aliases=(),
        architecture=architecture,
        variants=(
            Variant(
                name=installed.variant,
                format=installed.format,
                quantization=installed.quantization or "unknown",
                origin="community",
                tier="community",
                host=installed.host,
                repo=installed.repo or installed.root,
                revision=installed.revision,
                files=tuple(ModelFile(file.path, file.size_bytes, file.sha256) for file in installed.files),
                devices=(),
                size_bytes=installed.size_bytes,
                gated=False,
                confidence="verified",
                source="the file itself",
            ),
        ),
    )


def read_architecture(installed: InstalledModel) -> Architecture:
    """The architecture that a model's own files tell; an empty one where their format is not read.

    Raises:
        ModelFileError: the files can no longer be read as what they were.
    """
    try:
        match installed.format:
            case "gguf":
                path = layout.find_main(installed)
                with path.open("rb") as file:
                    return gguf.read_header(file, path.stat().st_size).to_architecture()
            case "onnx":
                return parse_genai_config(
                    (layout.find_main(installed) / "genai_config.json").read_text(encoding="utf-8")
                )
            case _:
                return Architecture()
    except OSError as error:
        raise ModelFileError(
            f"The files of `{installed.name}` can no longer be read",
            detail=str(error),
            hint=f"Put them back, or forget the model: `lf model rm {installed.name}`",
        ) from error


def parse_genai_config(text: str) -> Architecture:
    """The architecture in a `genai_config.json`. Source: onnxruntime-genai's configuration reference.

    Raises:
        ModelFileError: the text is no such configuration.
    """
    try:
        model = json.loads(text)["model"]
        decoder = model["decoder"]
        layers = int(decoder["num_hidden_layers"])
        return Architecture(
            layers=layers,
            hidden_size=int(decoder["hidden_size"]),
            heads=int(decoder["num_attention_heads"]),
            vocab_size=int(model["vocab_size"]),
            context_tokens=int(model["context_length"]),
            kv_groups=(
                KvGroup(
                    int(decoder["num_hidden_layers"]), int(decoder["num_key_value_heads"]), int(decoder["head_size"])
                ),
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            "`genai_config.json` lacks what an ONNX Runtime GenAI model needs", detail=repr(error)
        ) from error
