from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.catalog.names import find_keys, find_model, format_name, make_key, parse_name
from localfirst.errors import LfError, UnknownNameError, UsageError
from localfirst.types import Architecture, Model, ModelName, Variant


def make_variant(name: str = "q4_0", *, host: str = "huggingface", repo: str = "org/repo") -> Variant:
    return Variant(
        name=name,
        format="onnx",
        quantization="int4",
        origin="vendor-ptq",
        tier="vendor",
        host=host,  # type: ignore[arg-type]
        repo=repo,
        revision=None,
        files=(),
        devices=("cpu",),
        size_bytes=None,
        gated=False,
        confidence="page",
        source="a page",
    )


def make_model(name: str, family: str, size: str | None = None, *aliases: str, foundry: str | None = None) -> Model:
    variants = (make_variant(host="foundry", repo=foundry),) if foundry else (make_variant(),)
    return Model(
        name=name,
        title=name.title(),
        vendor="Acme",
        parameters=None,
        active_parameters=None,
        task="chat",
        license="mit",
        license_url=None,
        family=family,
        size=size,
        aliases=aliases,
        architecture=Architecture(),
        variants=variants,
    )


MODELS = (
    make_model("gemma-3-1b", "gemma-3", "1b", "gemma-3-1b-it", "gemma3:1b"),
    make_model("gemma-3-4b", "gemma-3", "4b", "gemma-3-4b-it", "gemma3:4b"),
    make_model("phi-4", "phi-4", "14b"),
    make_model("phi-4-mini", "phi-4-mini", "3.8b", foundry="Phi-4-mini-instruct-generic-cpu:5"),
    make_model("qwen3-4b", "qwen3", "4b"),
    make_model("qwen3-0.6b", "qwen3", "0.6b"),
    make_model("qwen3-4b-instruct-2507", "qwen3-instruct-2507", "4b"),
    make_model("tinyllama-1.1b", "tinyllama", "1.1b", "tinyllama-1.1b-chat-v1.0"),
)

PARSED = {
    "phi-4-mini": ModelName(name="phi-4-mini"),
    "  phi-4-mini\n": ModelName(name="phi-4-mini"),
    "gemma-3:4b": ModelName(name="gemma-3", size="4b"),
    "qwen3:0.6b": ModelName(name="qwen3", size="0.6b"),
    "Phi 4 mini": ModelName(name="Phi 4 mini"),
    "phi-4@q4_k_m": ModelName(name="phi-4", quantization="q4_k_m"),
    "phi-4#llama.cpp": ModelName(name="phi-4", backend="llama.cpp"),
    "gemma-3:4b@qat-q4_0#onnx": ModelName(name="gemma-3", size="4b", quantization="qat-q4_0", backend="onnx"),
    "hf:Qwen/Qwen3-4B-GGUF": ModelName(repo="Qwen/Qwen3-4B-GGUF"),
    "HF:Qwen/Qwen3-4B-GGUF:Q4_K_M": ModelName(repo="Qwen/Qwen3-4B-GGUF", file="Q4_K_M"),
    "hf:o/r:a/b-00001-of-00002.gguf": ModelName(repo="o/r", file="a/b-00001-of-00002.gguf"),
    "hf:o/r@refs/pr/1": ModelName(repo="o/r", revision="refs/pr/1"),
    "hf:o/r:f.gguf@main": ModelName(repo="o/r", file="f.gguf", revision="main"),
    "hf:o/r:int4-cpu@main#onnx": ModelName(repo="o/r", file="int4-cpu", revision="main", backend="onnx"),
    "./phi-4": ModelName(path="./phi-4"),
    "../a b/m.gguf": ModelName(path="../a b/m.gguf"),
    ".": ModelName(path="."),
    "/srv/models/m@x#y:z": ModelName(path="/srv/models/m@x#y:z"),
    "~/m": ModelName(path="~/m"),
    "Model-Q4.GGUF": ModelName(path="Model-Q4.GGUF"),
    "models/phi-4": ModelName(path="models/phi-4"),
    "C:\\models\\m": ModelName(path="C:\\models\\m"),
    "d:/m": ModelName(path="d:/m"),
    "d:": ModelName(path="d:"),
}


@pytest.mark.parametrize(("text", "name"), PARSED.items(), ids=PARSED)
def test_a_name_is_taken_apart(text: str, name: ModelName) -> None:
    assert parse_name(text) == name


REFUSED = {
    "": "A model name is empty",
    "  ": "A model name is empty",
    "a\0b": "null character",
    ":4b": "`:4b` is not a model name",
    "phi-4:": "`phi-4:` is not a model name",
    "phi-4@": "`phi-4@` is not a model name",
    "phi-4@a@b": "`phi-4@a@b` is not a model name",
    "phi-4#a@b": "`phi-4#a@b` is not a model name",
    "-phi": "`-phi` is not a model name",
    "phi;4": "`phi;4` is not a model name",
    "phi\t4": "is not a model name",
    "hf:": "`hf:` is not a hub name",
    "hf:org": "`hf:org` is not a hub name",
    "hf:org/a/b": "`hf:org/a/b` is not a hub name",
    "hf:../b": "`hf:../b` is not a hub name",
    "hf:o/r:../../etc/passwd": "is not a hub name",
    "hf:o/r:/etc/passwd": "is not a hub name",
    "hf:o/r@": "`hf:o/r@` is not a hub name",
    "hf:o/r@a/../b": "is not a hub name",
    "https://example.org/m": "`https://example.org/m` is an address",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=[repr(text) for text in REFUSED])
def test_what_is_no_name_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_name(text)


@pytest.mark.parametrize("prefix", ["https://huggingface.co/", "huggingface.co/", "http://hf.co/"])
def test_a_pasted_address_of_the_hub_names_what_to_type(prefix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_name(f"{prefix}Qwen/Qwen3-4B-GGUF/tree/main")
    assert caught.value.hint == "Write hf:Qwen/Qwen3-4B-GGUF"


FOUND = {
    "phi-4": "phi-4",
    "Phi-4": "phi-4",
    "phi4": "phi-4",
    "phi4:14b": "phi-4",
    "phi-4-mini": "phi-4-mini",
    "Phi-4-Mini-Instruct": "phi-4-mini",
    "phi_4_mini": "phi-4-mini",
    "Phi 4 mini": "phi-4-mini",
    "phi4-mini:3.8b": "phi-4-mini",
    "phi-4:mini": "phi-4-mini",
    "Phi-4-mini-instruct-generic-cpu": "phi-4-mini",
    "phi-4-mini-instruct-generic-cpu:5": "phi-4-mini",
    "gemma3:4b": "gemma-3-4b",
    "gemma-3:4b-it": "gemma-3-4b",
    "GEMMA-3-4B-IT": "gemma-3-4b",
    "qwen3-4b-instruct": "qwen3-4b",
    "Qwen3-4B": "qwen3-4b",
    "qwen3:0.6b": "qwen3-0.6b",
    "qwen3-4b-instruct-2507": "qwen3-4b-instruct-2507",
    "tinyllama": "tinyllama-1.1b",
    "tinyllama-chat": "tinyllama-1.1b",
}


@pytest.mark.parametrize(("text", "name"), FOUND.items(), ids=FOUND)
def test_habits_of_spelling_are_forgiven(text: str, name: str) -> None:
    assert find_model(MODELS, parse_name(text)).name == name


UNKNOWN = {
    "gemma-3": (
        "`gemma-3` is a family of 2 models",
        "gemma-3-1b  (Gemma-3-1B)\ngemma-3-4b  (Gemma-3-4B)",
        "Name one of them, such as gemma-3-1b",
    ),
    "gemma3:7b": (
        "`gemma3` has no size `7b`",
        "gemma-3-1b  (Gemma-3-1B)\ngemma-3-4b  (Gemma-3-4B)",
        "Name one of them, such as gemma-3-1b",
    ),
    "phi": (
        "`phi` is not a whole name; 2 begin so",
        "phi-4  (Phi-4)\nphi-4-mini  (Phi-4-Mini)",
        "Name one of them, such as phi-4",
    ),
    "tinylama-1.1b": (
        "No model named `tinylama-1.1b`",
        "tinyllama-1.1b  (Tinyllama-1.1B)",
        "Did you mean tinyllama-1.1b?",
    ),
    "gemma-34b": ("No model named `gemma-34b`", "gemma-3-4b  (Gemma-3-4B)\ngemma-3-1b  (Gemma-3-1B)", "gemma-3-4b?"),
    "zzz": ("No model named `zzz`", None, "List the names: `lf list`"),
    "_": ("No model named `_`", None, "List the names: `lf list`"),
}


@pytest.mark.parametrize(("text", "expected"), UNKNOWN.items(), ids=UNKNOWN)
def test_an_unknown_name_says_what_to_type(text: str, expected: tuple[str, str | None, str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_model(MODELS, parse_name(text))
    message, detail, hint = expected
    assert (caught.value.message, caught.value.detail) == (message, detail)
    assert (caught.value.hint or "").endswith(hint)


def test_an_exact_name_wins_over_the_alias_of_another() -> None:
    models = (make_model("b", "b", None, "a"), make_model("a", "a"))
    assert find_model(models, ModelName(name="a")).name == "a"


@pytest.mark.parametrize("name", [ModelName(path="./m"), ModelName(repo="o/r")], ids=["path", "repository"])
def test_a_path_or_repository_is_in_no_catalog(name: ModelName) -> None:
    with pytest.raises(UsageError):
        find_model(MODELS, name)


def test_the_full_form_names_variant_and_backend() -> None:
    model, variant = make_model("phi-4-mini", "phi-4-mini"), make_variant("int4-cpu")
    assert format_name(model) == "phi-4-mini"
    assert format_name(model, variant) == "phi-4-mini@int4-cpu"
    assert format_name(model, variant, "onnx") == "phi-4-mini@int4-cpu#onnx"
    assert format_name(model._replace(name="hf:o/r"), variant) == "hf:o/r:int4-cpu"
    assert format_name(model._replace(name="hf:o/r@main"), variant, "onnx") == "hf:o/r:int4-cpu@main#onnx"


words = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+){0,3}", fullmatch=True).filter(lambda word: not word.endswith(".gguf"))


@given(words, words, words)
def test_the_full_form_is_taken_apart_again(name: str, variant: str, backend: str) -> None:
    text = format_name(make_model(name, name), make_variant(variant), backend)
    assert parse_name(text) == ModelName(name=name, quantization=variant, backend=backend)
    hub = format_name(make_model(f"hf:{name}/{name}@{variant}", name), make_variant(variant), backend)
    assert parse_name(hub) == ModelName(repo=f"{name}/{name}", file=variant, revision=variant, backend=backend)


@given(st.text())
def test_random_text_never_raises_anything_but_a_typed_error(text: str) -> None:
    try:
        find_model(MODELS, parse_name(text))
    except LfError as error:
        assert error.message  # noqa: PT017 - the model found by chance is no failure either


@given(st.text(alphabet="phi4gemaqwn3-_.: @#/\\", max_size=20))
def test_text_near_a_name_never_raises_anything_but_a_typed_error(text: str) -> None:
    try:
        found = find_model(MODELS, parse_name(text))
    except LfError:
        return
    assert found in MODELS


@given(words)
def test_a_key_of_a_key_is_the_same_key(name: str) -> None:
    assert make_key(make_key(name)) == make_key(name)
    assert make_key(name.upper().replace("-", " ")) == make_key(name)
    assert make_key(name) in find_keys(make_model(name, "family"))
