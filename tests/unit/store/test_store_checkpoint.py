"""Checkpoints in Hugging Face's layout, looked at before a converter reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fixtures.formats import make_safetensors
from tests.fixtures.scripted.safetensors_folder import make_checkpoint

from localfirst.errors import ModelFileError, UsageError
from localfirst.store import checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_checkpoint(tmp_path / "model", "Yes.")
    return tmp_path / "model"


def edit(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    record = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(record | changes))


def test_it_is_its_configuration_its_tokenizer_and_its_weights(folder: Path) -> None:
    for other in ("pytorch_model.bin", "model.gguf", "consolidated.safetensors", "train.log", "README.md"):
        (folder / other).write_bytes(make_safetensors())
    (folder / "original").mkdir()
    chosen = checkpoint.check_folder(folder)
    assert chosen == (
        "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    )  # fmt: skip
    shape = checkpoint.read_shape(folder)
    assert (shape.architecture, shape.dtype) == ("LlamaForCausalLM", "float32")
    weights = (folder / "model.safetensors").stat().st_size
    counted = checkpoint.count_parameters(folder, chosen)
    assert sum(counted.values()) == pytest.approx(shape.count_parameters(weights), rel=0.05)
    assert shape.embedding == shape.numbers.vocab_size * 64


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "code beside it": (lambda at: (at / "modeling_x.py").write_text("boom"), "modeling_x.py"),
    "code in the configuration": (lambda at: edit(at, "config.json", auto_map={"AutoConfig": "x.Y"}), "auto_map"),
    "code in the tokenizer": (
        lambda at: edit(at, "tokenizer_config.json", auto_map={"AutoTokenizer": "x"}),
        "auto_map",
    ),
    "code in the generation": (lambda at: edit(at, "generation_config.json", auto_map={}), "auto_map"),
    "an adapter": (lambda at: edit(at, "adapter_config.json", base_model_name_or_path="x"), "adapter"),
    "a missing shard": (
        lambda at: edit(at, checkpoint.INDEX, weight_map={"w": "model-00002-of-00002.safetensors"}),
        "incomplete",
    ),
    "a shard elsewhere": (lambda at: edit(at, checkpoint.INDEX, weight_map={"w": "../w.safetensors"}), "outside"),
    "half a file": (lambda at: (at / "model.safetensors").write_bytes(make_safetensors()[:-1]), "truncated"),
    "no weights": (lambda at: (at / "model.safetensors").unlink(), "no checkpoint"),
    "no configuration": (lambda at: (at / "config.json").unlink(), "no checkpoint"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_none_or_would_run_code_is_refused(folder: Path, case: str) -> None:
    spoil, said = BAD[case]
    spoil(folder)
    with pytest.raises(ModelFileError) as caught:
        checkpoint.check_folder(folder)
    assert said in f"{caught.value.message} {caught.value.detail}"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization": {"bits": 4, "group_size": 64}}, "MLX"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
    ],
)
def test_weights_that_are_quantized_already_are_refused(folder: Path, changes: dict[str, object], named: str) -> None:
    edit(folder, "config.json", **changes)
    with pytest.raises(ModelFileError, match=f"quantized already: {named}"):
        checkpoint.read_shape(folder)


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        checkpoint.check_folder(tmp_path / "nothing")


def test_the_size_of_the_numbers_is_told_by_the_text_part_too(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["torch_dtype"]
    (folder / "config.json").write_text(json.dumps(config | {"text_config": {"dtype": "float32"}}))
    assert checkpoint.read_shape(folder).count_parameters(400) == 100


@pytest.mark.parametrize(
    ("names", "parameters", "tensors", "missing"),
    [
        ({"config.json", "tokenizer_config.json"}, 10**9, None, "no tokenizer"),
        ({"tokenizer.json"}, 0, None, "no weights"),
        ({"tokenizer.json"}, 16, {"x"}, "no weights"),
        ({"tokenizer.json"}, 10**9, {"model.layers.0.mlp.up_proj.weight"}, "not all of its weights"),
        ({"tokenizer.model"}, 10**9, None, None),
        ({"vocab.json", "merges.txt"}, 10**9, None, None),
    ],
)
def test_what_a_converter_needs_is_there_or_named(
    folder: Path, names: set[str], parameters: int, tensors: set[str] | None, missing: str | None
) -> None:
    edit(folder, "config.json", num_hidden_layers=3)
    shape = checkpoint.read_shape(folder)
    if missing is None:
        checkpoint.check_whole(shape, names, parameters, tensors)
        return
    with pytest.raises(ModelFileError, match=missing) as caught:
        checkpoint.check_whole(shape, names, parameters, tensors)
    if tensors and missing.startswith("not all"):
        assert str(caught.value.detail).endswith("none: 1, 2")


def test_a_whole_checkpoint_is_whole(folder: Path) -> None:
    files = checkpoint.check_folder(folder)
    tensors = checkpoint.count_parameters(folder, files)
    checkpoint.check_whole(checkpoint.read_shape(folder), files, sum(tensors.values()), tensors)
