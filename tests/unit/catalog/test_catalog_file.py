"""The catalog that ships: it parses, and what it promises at its top holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localfirst.catalog import keys
from localfirst.catalog.names import find_keys, find_model, format_name, parse_name
from localfirst.catalog.parse import parse_catalog
from localfirst.catalog.rows import from_json, to_json
from localfirst.types import Model, ModelFile, ModelName, Variant

CATALOG = Path(__file__).parents[3] / "catalog.yaml"
TEXT = CATALOG.read_text(encoding="utf-8")
MODELS = parse_catalog(TEXT)
BUILDS = [(model, variant) for model in MODELS for variant in model.variants]
BUILD_IDS = [format_name(model, variant) for model, variant in BUILDS]

EXPECTED_NAMES = (
    *("starter", "gemma-3-270m", "gemma-3-1b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b"),
    *("gemma-4-e2b", "gemma-4-e4b", "gemma-4-12b", "gemma-4-26b-a4b", "gemma-4-31b"),
    *("phi-4", "phi-4-mini", "phi-4-mini-reasoning", "phi-4-reasoning", "phi-3.5-mini", "bitnet-b1.58-2b"),
    *("smollm2-135m", "smollm2-360m", "smollm2-1.7b", "smollm3-3b", "tinyllama-1.1b", "gpt-oss-20b"),
    *("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b", "qwen3-30b-a3b"),
    *("qwen3-4b-instruct-2507", "qwen3-coder-30b", "ministral-3-3b", "ministral-3-8b", "ministral-3-14b"),
    *("llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "deepseek-r1-8b", "mistral-7b"),
)


def get_build(name: str) -> tuple[Model, Variant]:
    return BUILDS[BUILD_IDS.index(name)]


@pytest.mark.parametrize("name", EXPECTED_NAMES)
def test_a_model_is_there_under_its_name(name: str) -> None:
    assert find_model(MODELS, parse_name(name)).name == name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_spelling_of_a_model_means_that_model_alone(model: Model) -> None:
    texts = [model.name, model.title, *model.aliases, *find_keys(model)]
    texts += [f"{model.family}:{model.size}"] if model.size else []
    assert {find_model(MODELS, parse_name(text)).name for text in texts} == {model.name}


@pytest.mark.parametrize(("model", "variant"), BUILDS, ids=BUILD_IDS)
def test_every_build_has_a_source_a_name_to_type_and_something_to_fetch(model: Model, variant: Variant) -> None:
    typed = parse_name(format_name(model, variant))
    assert typed == ModelName(name=model.name, quantization=variant.name)
    assert len(variant.source) > 10
    assert variant.devices
    assert variant.files or (variant.host == "foundry" and variant.size_bytes)


UNCONFIRMED_MODELS = {
    *("falcon-e-1b", "granite-4.0-350m", "granite-4.0-h-350m", "granite-4.0-h-1b", "granite-4.0-h-micro"),
    *("granite-4.2-3b", "granite-4.2-8b", "granite-4.2-30b", "qwen2.5-coder-0.5b", "qwen3-vl-8b", "deepseek-r1-7b"),
    "qwen3-embedding-8b",
}
"""Of each, one build is known by the pattern of its publisher's other names only."""


def test_no_other_build_is_unconfirmed() -> None:
    assert {model.name for model, variant in BUILDS if variant.confidence == "memory"} == UNCONFIRMED_MODELS


SHAPELESS = {"falcon-e-1b", "falcon-e-3b", "granite-4.0-h-350m", "minicpm-v-4.6"}
"""No public configuration was found of these."""


def test_every_other_model_has_a_shape() -> None:
    assert {model.name for model in MODELS if not model.architecture.layers} == SHAPELESS


@pytest.mark.parametrize(
    "model", [model for model in MODELS if model.architecture.layers], ids=lambda model: model.name
)
def test_the_shape_of_a_network_agrees_with_itself(model: Model) -> None:
    shape = model.architecture
    assert shape.layers
    assert shape.hidden_size
    assert shape.context_tokens
    assert sum(group.layers for group in shape.kv_groups) <= shape.layers
    assert all(
        variant.context_tokens is None or variant.context_tokens < shape.context_tokens for variant in model.variants
    )


def test_the_gates_of_google_and_meta_are_marked() -> None:
    gated = {variant.repo.partition("/")[0] for _, variant in BUILDS if variant.gated}
    open_gemma_3 = [v.repo for m, v in BUILDS if m.family == "gemma-3" and v.repo.startswith("google/") and not v.gated]
    open_llama = [v.repo for _, v in BUILDS if v.repo.startswith("meta-llama/") and not v.gated]
    assert {"google", "meta-llama"} <= gated
    assert (open_gemma_3, open_llama) == ([], [])
    assert not any(variant.gated for model, variant in BUILDS if model.family == "gemma-4")


PINS = {
    "gemma-3-4b@qat-q4_0": (
        "google/gemma-3-4b-it-qat-q4_0-gguf",
        "15f73f5eee9c28f53afefef5723e29680c2fc78a",
        "gemma-3-4b-it-q4_0.gguf",
        3155051328,
        "76aed0a8285b83102f18b5d60e53c70d09eb4e9917a20ce8956bd546452b56e2",
    ),
    "gemma-4-e2b@qat-q4_0": (
        "google/gemma-4-E2B-it-qat-q4_0-gguf",
        "675cff42a74c774d6cb76f76d8eacb49b48c9b93",
        "gemma-4-E2B_q4_0-it.gguf",
        3349516256,
        "fa401b55b07ee70a54c6dae3903c783a6e65064312529ea57175cb5f8dec6634",
    ),
    "gpt-oss-20b@mxfp4": (
        "ggml-org/gpt-oss-20b-GGUF",
        "ef9b12f2ff56c69cf32153a02784e7a3c88bf524",
        "gpt-oss-20b-MXFP4.gguf",
        12109566624,
        "27cd6c432c7672cb812a92f611cf3ba7bbc35928262bb1e1253ff4ee6ae35901",
    ),
    "bitnet-b1.58-2b@i2_s": (
        "microsoft/bitnet-b1.58-2B-4T-gguf",
        None,
        "ggml-model-i2_s.gguf",
        1187801280,
        "4221b252fdd5fd25e15847adfeb5ee88886506ba50b8a34548374492884c2162",
    ),
    "qwen3-4b@q4_k_m": (
        "Qwen/Qwen3-4B-GGUF",
        None,
        "Qwen3-4B-Q4_K_M.gguf",
        2497280256,
        "7485fe6f11af29433bc51cab58009521f205840f5b4ae3a32fa7f92e8534fdf5",
    ),
    "smollm3-3b@q4_k_m": (
        "ggml-org/SmolLM3-3B-GGUF",
        "4965cb60b150737b68a0408c36aeefb65078f894",
        "SmolLM3-Q4_K_M.gguf",
        1915305312,
        "8334b850b7bd46238c16b0c550df2138f0889bf433809008cc17a8b05761863e",
    ),
}


@pytest.mark.parametrize(("name", "pin"), PINS.items(), ids=PINS)
def test_pinned_bytes_and_digests_are_kept(name: str, pin: tuple[str, str | None, str, int, str]) -> None:
    repo, revision, path, size_bytes, sha256 = pin
    _, variant = get_build(name)
    assert (variant.repo, variant.revision) == (repo, revision)
    assert variant.files == (ModelFile(path, size_bytes, sha256),)
    assert variant.size_bytes == size_bytes


SIZES = {
    "phi-4-mini@int4-cpu": ("microsoft/Phi-4-mini-instruct-onnx", 4930544935),
    "phi-4-mini@foundry-cpu": ("Phi-4-mini-instruct-generic-cpu:5", 5153960755),
    "phi-4@int4-cpu": ("microsoft/phi-4-onnx", 10916011172),
    "qwen3-4b@foundry-cuda": ("qwen3-4b-cuda-gpu:2", 2823706587),
}


@pytest.mark.parametrize(("name", "expected"), SIZES.items(), ids=SIZES)
def test_stated_sizes_are_kept(name: str, expected: tuple[str, int]) -> None:
    _, variant = get_build(name)
    assert (variant.repo, variant.size_bytes) == expected


def test_onnx_builds_are_folders_with_a_configuration_of_their_own() -> None:
    onnx = [variant for _, variant in BUILDS if variant.format == "onnx" and variant.host == "huggingface"]
    assert {path.rpartition("/")[2] for variant in onnx for path in [variant.files[0].path]} == {"*"}


def test_the_catalog_survives_its_cache() -> None:
    assert from_json(to_json(MODELS)) == MODELS


def test_the_top_explains_every_key() -> None:
    top = {word for line in TEXT.splitlines() if line.startswith("#") for word in re.findall(r"\w+", line)}
    known = {*keys.DOCUMENT, *keys.MODEL, *keys.VARIANT, *keys.MODEL_FILE, *keys.ARCHITECTURE}
    plain = {"title", "layers", "hidden_size", "heads", "vocab_size", "note"}
    assert known - top - plain == set()


def test_every_source_is_used() -> None:
    sources = re.findall(r"^  ([\w-]+):", TEXT.partition("sources:\n")[2].partition("\n\n")[0], re.MULTILINE)
    used = " ".join(re.findall(r"source: ([^}\n]+)", TEXT.partition("models:\n")[2]))
    assert len(sources) > 30
    assert set(sources) - set(re.findall(r"[\w-]+", used)) == set()
