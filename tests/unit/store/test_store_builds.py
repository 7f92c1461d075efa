from __future__ import annotations

import pytest
from tests.fixtures.hub import make_model

from localfirst.errors import CatalogError, IntegrityError, ModelFileError, UnknownNameError
from localfirst.store.builds import describe_listing, find_gguf_quantization, find_shards, find_tier
from localfirst.store.listing import HubFile, Listing
from localfirst.store.select import select_files
from localfirst.types import ModelFile

COMMIT = "c" * 40
A, B = "a" * 64, "b" * 64

QUANTIZATIONS = {
    "Qwen3-8B-Q4_K_M.gguf": "Q4_K_M",
    "qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf": "Q4_K_M",
    "gemma-4-E2B_q4_0-it.gguf": "Q4_0",
    "gemma-3-270m-it-qat-Q4_0.gguf": "Q4_0",
    "ggml-model-i2_s.gguf": "I2_S",
    "Phi-3-mini-4k-instruct-q4.gguf": "Q4",
    "phi-4-Q4_K.gguf": "Q4_K",
    "x-IQ3_XXS.gguf": "IQ3_XXS",
    "gpt-oss-20b-MXFP4.gguf": "MXFP4",
    "model-bf16.gguf": "BF16",
    "Q8_0/part.gguf": None,
    "plain.gguf": None,
}


@pytest.mark.parametrize(("path", "quantization"), QUANTIZATIONS.items())
def test_quantizations_are_read_from_file_names(path: str, quantization: str | None) -> None:
    assert find_gguf_quantization(path) == quantization


def test_shards_belong_together_only_when_all_are_there() -> None:
    paths = ["m-00002-of-00002.gguf", "m-00001-of-00002.gguf", "n-00001-of-00002.gguf", "m.gguf"]
    assert find_shards(paths, "m-00002-of-00002.gguf") == ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    assert find_shards(paths, "n-00001-of-00002.gguf") is None
    assert find_shards(paths, "m.gguf") == ("m.gguf",)


def make_listing(*paths: str, repo: str = "Qwen/Qwen3-8B-GGUF") -> Listing:
    return Listing(repo, COMMIT, tuple(HubFile(path, 10, A) for path in sorted(paths)))


def test_a_gguf_repository_has_one_build_per_model_file() -> None:
    listing = make_listing(
        "README.md",
        "Qwen3-8B-Q4_K_M.gguf",
        "Qwen3-8B-Q8_0-00001-of-00002.gguf",
        "Qwen3-8B-Q8_0-00002-of-00002.gguf",
        "broken-Q5_0-00001-of-00003.gguf",
        "mmproj-Qwen3-8B-F16.gguf",
    )
    model = describe_listing(listing, None, None, "https://hub/page")
    assert (model.name, model.vendor, model.family) == ("hf:Qwen/Qwen3-8B-GGUF", "Qwen", "qwen3-8b-gguf")
    assert [(item.name, item.quantization, item.tier, item.revision, item.size_bytes) for item in model.variants] == [
        ("q4_k_m", "Q4_K_M", "vendor", COMMIT, 10),
        ("q8_0", "Q8_0", "vendor", COMMIT, 20),
    ]
    assert [file.path for file in model.variants[1].files] == [
        "Qwen3-8B-Q8_0-00001-of-00002.gguf",
        "Qwen3-8B-Q8_0-00002-of-00002.gguf",
    ]


def test_two_builds_of_one_quantization_get_long_names() -> None:
    model = describe_listing(make_listing("a-Q4_0.gguf", "b-Q4_0.gguf"), None, None, "")
    assert [variant.name for variant in model.variants] == ["a-q4_0", "b-q4_0"]


def test_an_onnx_repository_has_one_build_per_folder_with_a_configuration() -> None:
    cpu = "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4"
    listing = make_listing(
        "config.json",
        f"{cpu}/genai_config.json",
        f"{cpu}/model.onnx",
        f"{cpu}/model.onnx.data",
        f"{cpu}/configuration_phi3.py",
        f"{cpu}/deeper/other.json",
        "gpu/gpu-int4-rtn-block-32/genai_config.json",
        "gpu/gpu-int4-rtn-block-32/model.onnx",
        "onnx/model_q4.onnx",
        "empty/genai_config.json",
        repo="microsoft/Phi-4-mini-instruct-onnx",
    )
    model = describe_listing(listing, None, None, "")
    assert [(item.name, item.format, item.quantization, item.devices) for item in model.variants] == [
        ("cpu-int4-rtn-block-32-acc-level-4", "onnx", "int4", ("cpu",)),
        ("gpu-int4-rtn-block-32", "onnx", "int4", ("cuda", "directml")),
    ]
    assert [file.path.removeprefix(f"{cpu}/") for file in model.variants[0].files] == [
        "genai_config.json",
        "model.onnx",
        "model.onnx.data",
    ]


def test_an_mlx_repository_is_one_build_and_a_plain_checkpoint_is_none() -> None:
    files = ("config.json", "model.safetensors", "tokenizer.json", "sub/x.json")
    model = describe_listing(make_listing(*files, repo="mlx-community/Qwen3-4B-4bit"), None, None, "")
    (variant,) = model.variants
    assert (variant.name, variant.format, variant.tier, variant.devices) == ("4bit", "mlx", "platform", ("metal",))
    assert [file.path for file in variant.files] == ["config.json", "model.safetensors", "tokenizer.json"]
    with pytest.raises(UnknownNameError, match="no build that can be run here"):
        describe_listing(make_listing(*files, repo="Qwen/Qwen3-4B"), None, None, "")


NAMED = {
    "by its path": "sub/a-Q4_0.gguf",
    "by its file name": "a-Q4_0.gguf",
    "in another case": "A-q4_0.GGUF",
    "by its quantization": "Q4_0",
}


@pytest.mark.parametrize("file", NAMED.values(), ids=NAMED)
def test_a_build_can_be_named(file: str) -> None:
    model = describe_listing(make_listing("sub/a-Q4_0.gguf", "b-Q8_0.gguf"), "v1", file, "")
    assert model.name == "hf:Qwen/Qwen3-8B-GGUF@v1"
    assert [variant.name for variant in model.variants] == ["q4_0"]


def test_a_build_that_is_not_there_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        describe_listing(make_listing("a-Q4_0.gguf", "b-Q8_0.gguf"), None, "a-Q4_1.gguf", "")
    assert caught.value.detail == "q4_0  a-Q4_0.gguf\nq8_0  b-Q8_0.gguf"
    assert caught.value.hint == "Did you mean `a-Q4_0.gguf`?"


def test_tiers_follow_the_organisation() -> None:
    repos = ("Qwen/x", "qwen/x", "onnxruntime/x", "ggml-org/x", "TheBloke/x")
    assert [find_tier(repo) for repo in repos] == ["vendor", "vendor", "runtime-vendor", "platform", "community"]


def select(listing: Listing, *files: str | ModelFile, **changes: object) -> tuple[list[str], list[str]]:
    notices: list[str] = []
    chosen = select_files(make_model(listing.repo, *files, **changes)[1], listing, notices.append)
    return [file.path for file in chosen], notices


def test_globs_match_part_by_part_and_without_case() -> None:
    listing = make_listing("f/Model.ONNX", "f/genai_config.json", "f/g/x.json", "f/x.py", "y.json")
    assert select(listing, "F/*", format="onnx") == (["f/Model.ONNX", "f/genai_config.json"], [])


def test_a_glob_for_a_model_does_not_take_its_projector() -> None:
    listing = make_listing("x-Q4_K_M.gguf", "mmproj-x-Q4_K_M.gguf")
    assert select(listing, "*Q4_K_M.gguf") == (["x-Q4_K_M.gguf"], [])


def test_what_accompanies_weights_may_be_absent() -> None:
    listing = make_listing("model.safetensors", "config.json")
    wanted = ("*.safetensors", "*.json", "tokenizer*", "*.jinja")
    assert select(listing, *wanted, format="mlx") == (["config.json", "model.safetensors"], [])


def test_another_spelling_is_used_with_a_notice() -> None:
    listing = make_listing("Model-Q4_0.gguf")
    said = "`Qwen/Qwen3-8B-GGUF` spells model-q4_0.gguf as Model-Q4_0.gguf; using that"
    assert select(listing, "model-q4_0.gguf") == (["Model-Q4_0.gguf"], [said])


MISSING = {
    "a file": (("model-q5_0.gguf",), "has no file model-q5_0.gguf at commit cccccccccccc", CatalogError),
    "a pattern": (("*.safetensors",), r"has no file \*\.safetensors at commit", CatalogError),
    "several models": (("*.gguf",), "more than one model", CatalogError),
    "code": (("run.py",), "may hold code", ModelFileError),
    "a shard": (("s-00001-of-00002.gguf",), "only a part of this model", CatalogError),
}


@pytest.mark.parametrize(("files", "message", "error"), MISSING.values(), ids=MISSING)
def test_what_cannot_be_selected_is_a_clear_error(files: tuple[str, ...], message: str, error: type) -> None:
    listing = make_listing("a-Q4_0.gguf", "b-Q8_0.gguf", "run.py", "s-00001-of-00002.gguf")
    with pytest.raises(error, match=message):
        select(listing, *files)


DIFFERENT = {
    "digest": (ModelFile("a.gguf", 10, B), f"catalog: {B}\nhub:     {A}"),
    "size": (ModelFile("a.gguf", 11, A), "catalog: 11\nhub:     10"),
}


@pytest.mark.parametrize(("file", "detail"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_hub_that_disagrees_with_the_catalog_is_an_error_with_both(file: ModelFile, detail: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        select(make_listing("a.gguf"), file)
    assert caught.value.detail == detail


def test_the_catalogs_digest_counts_where_the_hub_has_none() -> None:
    listing = Listing("a/b", COMMIT, (HubFile("a.gguf", 10, None, "d" * 40),))
    _, variant = make_model("a/b", ModelFile("a.gguf", 10, B))
    assert select_files(variant, listing, print) == (HubFile("a.gguf", 10, B, "d" * 40),)
