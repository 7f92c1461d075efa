from __future__ import annotations

import string
from contextlib import suppress
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from localfirst.errors import IntegrityError
from localfirst.store.names import (
    check_paths,
    check_sha1,
    check_sha256,
    is_commit,
    is_inert,
    is_projector,
    is_repo,
    make_folder_name,
)
from localfirst.store.net.address import find_origin

HOSTILE = {
    "empty": "",
    "parent": "../x.gguf",
    "parent inside": "a/../../x.gguf",
    "here": "./x.gguf",
    "absolute": "/etc/passwd",
    "double slash": "a//b",
    "trailing slash": "a/",
    "backslash": "a\\b",
    "windows share": "\\\\host\\share",
    "drive": "C:x.gguf",
    "stream": "x.gguf:evil",
    "reserved": "aux",
    "reserved with an extension": "folder/CON.gguf",
    "reserved with a superscript": "com¹.txt",
    "trailing dot": "x.gguf.",
    "trailing space": "x.gguf ",
    "wildcard": "*.gguf",
    "null": "a\0b",
    "newline": "a\nb",
    "escape": "\x1b[2Jx",
    "right to left": "x\u202efugg.gguf",
    "lone surrogate": "x\ud800",
    "very long": "x" * 401,
}


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_path_is_refused_in_printable_words(path: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        check_paths([path], "the hub's listing")
    assert caught.value.message == "the hub's listing has a file name that is not safe to write"
    assert (caught.value.detail or "").isascii()
    assert (caught.value.detail or "").isprintable()


@pytest.mark.parametrize(
    "pair", [("Model.gguf", "model.gguf"), ("é.json", "e\u0301.json")], ids=["case", "Unicode form"]
)
def test_two_paths_that_some_systems_take_for_one_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(IntegrityError, match="differ only in case"):
        check_paths(pair, "x")


def test_ordinary_paths_pass() -> None:
    check_paths(["a/b-c_d.1/Qwen3-8B-Q4_K_M.gguf", "config.json", "日本語.txt", "console.txt", ".gitattributes"], "x")


@given(st.text(max_size=40))
def test_a_path_that_passes_stays_below_its_folder_on_every_system(path: str) -> None:
    try:
        check_paths([path], "x")
    except IntegrityError:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        assert not kind(path).is_absolute()
        assert kind(path).drive == ""
        assert ".." not in kind(path).parts
        assert kind(path).parts == tuple(path.split("/"))


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../../" + "a" * 58, "a" * 64 + "\n", None, 7])
def test_what_is_no_digest_is_refused(digest: object) -> None:
    with pytest.raises(IntegrityError):
        check_sha256(digest, "x")
    with pytest.raises(IntegrityError):
        check_sha1(digest, "x")


def test_digests_pass() -> None:
    assert check_sha256("0" * 64, "x") == "0" * 64
    assert check_sha1("a" * 40, "x") == "a" * 40
    assert (is_commit("a" * 40), is_commit("main"), is_commit(None)) == (True, False, False)


REPOS = {
    "Qwen/Qwen3-8B-GGUF": True,
    "a/b": True,
    "microsoft/bitnet-b1.58-2B-4T-gguf": True,
    "gpt2": False,
    "a/b/c": False,
    "../x": False,
    "a/..": False,
    "a--b/c": False,
    "a/b?x": False,
    "a/b ": False,
}


@pytest.mark.parametrize(("repo", "valid"), REPOS.items())
def test_repository_names(repo: str, valid: bool) -> None:
    assert is_repo(repo) is valid


INERT = {
    ("model.gguf", "gguf"): True,
    ("a/model.onnx", "onnx"): True,
    ("model.onnx.data", "onnx"): True,
    ("model_q4f16.onnx_data_6", "onnx"): True,
    ("tokenizer.model", "mlx"): True,
    ("LICENSE", "gguf"): True,
    ("LICENSE-APACHE.md", "gguf"): True,
    ("openvino_model.bin", "openvino"): True,
    ("pytorch_model.bin", "safetensors"): False,
    ("modeling_phi3.py", "onnx"): False,
    ("license.py", "onnx"): False,
    ("model.json.py", "onnx"): False,
    ("weights.pt", "gguf"): False,
    ("a.llamafile", "llamafile"): True,
    ("a.llamafile", "gguf"): False,
    ("gguf", "gguf"): False,
    ("README.md", "gguf"): False,
}


@pytest.mark.parametrize(("case", "inert"), INERT.items(), ids=str)
def test_only_files_that_carry_data_are_fetched(case: tuple[str, str], inert: bool) -> None:
    assert is_inert(*case) is inert  # type: ignore[arg-type]


def test_projectors_are_told_from_models() -> None:
    assert [is_projector(name) for name in ("a/mmproj-F16.gguf", "X-BF16-mmproj.gguf", "mmproj/x.gguf")] == [
        True,
        True,
        False,
    ]


@given(st.text(max_size=200), st.text(max_size=200))
def test_folder_names_are_safe_and_different_for_different_texts(one: str, two: str) -> None:
    name = make_folder_name(one)
    check_paths([name], "x")
    assert set(name) <= set(string.ascii_lowercase + string.digits + "._@-")
    assert len(name) <= 69
    assert (name == make_folder_name(two)) is (one == two)


@given(st.text(alphabet="\\@/:.ab1[]%#? \t", max_size=14))
def test_what_is_asked_is_what_the_token_is_for(middle: str) -> None:
    """The two parsers of addresses agree on the host of everything that has an origin."""
    url = f"https://{middle}hub.example/x"
    origin = find_origin(url)
    if origin is not None:
        with suppress(LocationParseError):  # then nobody is asked
            assert (parse_url(url).host or "").strip("[]") == origin[1]


def test_an_address_that_is_read_in_two_ways_is_none() -> None:
    assert find_origin("https://evil.example\\@hub.example/x") is None
    assert find_origin("https://%a1hub.example/x") is None
