"""Lock files: what is written is read again, and what anybody may have changed is refused or safe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.errors import IntegrityError, LfError, UsageError
from localfirst.store import lockfile
from localfirst.store.lockfile import LockedFile, LockedModel, format_lock, parse_lock, read_lock
from localfirst.store.names import check_paths, check_sha1, check_sha256, is_commit, is_inert, is_repo
from localfirst.types import Format

MODEL = LockedModel(
    "phi-4-mini",
    "int4-cpu",
    "onnx",
    "int4",
    "mit",
    "microsoft/Phi-4-mini-instruct-onnx",
    "c" * 40,
    (
        LockedFile("cpu/genai_config.json", 938, git_sha1="b" * 40),
        LockedFile("cpu/model.onnx", 2011671, sha256="a" * 64),
    ),
)
HUB = MODEL._replace(name="hf:org/repo@main", repo="org/repo", variant="q4_0", format="gguf", quantization=None)
HUB = HUB._replace(files=(LockedFile("model.gguf", 5, "e" * 64, "d" * 40),))
BUILT_IN = MODEL._replace(name="starter", variant="onnx", repo=None, revision=None)


def test_what_is_written_is_read_again_in_one_order() -> None:
    text = format_lock([BUILT_IN, MODEL, HUB])
    assert parse_lock(text) == (HUB, MODEL, BUILT_IN)
    assert format_lock([MODEL._replace(files=MODEL.files[::-1]), HUB, BUILT_IN]) == text
    assert text.endswith("}\n")


digests = st.text("0123456789abcdef", min_size=64, max_size=64)
paths = st.from_regex(r"[a-z0-9]{1,9}(/[a-z0-9]{1,9}){0,2}\.(json|gguf)", fullmatch=True)
files = st.builds(LockedFile, paths, st.integers(0, 2**53), digests, st.none())
locked = st.builds(
    LockedModel,
    st.from_regex(r"[a-z][a-z0-9.+-]{0,20}", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True),
    st.sampled_from(get_args(Format)),
    st.none() | st.just("Q4_0"),
    st.just("mit"),
    st.from_regex(r"[a-z][a-z0-9]{0,9}/[a-z][a-z0-9]{0,9}", fullmatch=True),
    st.text("0123456789abcdef", min_size=40, max_size=40),
    st.lists(files, min_size=1, max_size=4, unique_by=lambda file: file.path).map(
        lambda found: tuple(sorted(found, key=lambda file: file.path))
    ),
)


@given(st.lists(locked, min_size=1, max_size=3, unique_by=lambda model: (model.name, model.variant)))
def test_any_lock_is_the_same_after_a_round(models: list[LockedModel]) -> None:
    assert parse_lock(format_lock(models)) == tuple(sorted(models, key=lambda model: (model.name, model.variant)))


def change(record: dict[str, Any], place: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed = json.loads(json.dumps(record))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return changed


RECORD = json.loads(format_lock([MODEL]))
FILE = ("models", 0, "files", 0)
REFUSED: dict[str, tuple[tuple[Any, ...], object, type[LfError]]] = {
    "a newer schema": (("schema",), "lf.lock/2", UsageError),
    "no schema": (("schema",), ..., UsageError),
    "no models": (("models",), [], UsageError),
    "models of another type": (("models",), {}, UsageError),
    "a model that is none": (("models", 0), "phi", UsageError),
    "the same build twice": (("models",), RECORD["models"] * 2, UsageError),
    "no name": (("models", 0, "name"), "", UsageError),
    "a name that is a path": (("models", 0, "name"), "../phi", UsageError),
    "a name that drives a terminal": (("models", 0, "name"), "phi\x1b[2J", UsageError),
    "a name of another repository": (("models", 0, "name"), "hf:evil/repo", UsageError),
    "a name of another commit": (("models", 0, "name"), f"hf:{MODEL.repo}@{'d' * 40}", UsageError),
    "a variant of another type": (("models", 0, "variant"), 4, UsageError),
    "a very long variant": (("models", 0, "variant"), "x" * 1000, UsageError),
    "an unknown format": (("models", 0, "format"), "pickle", UsageError),
    "a repository that is a path": (("models", 0, "repo"), "../../etc", UsageError),
    "a repository without a revision": (("models", 0, "revision"), None, UsageError),
    "a branch": (("models", 0, "revision"), "main", UsageError),
    "no files": (("models", 0, "files"), [], UsageError),
    "a file twice": (("models", 0, "files"), RECORD["models"][0]["files"][:1] * 2, UsageError),
    "a path to the parent": ((*FILE, "path"), "../genai_config.json", IntegrityError),
    "an absolute path": ((*FILE, "path"), "/etc/passwd.json", IntegrityError),
    "a Windows path": ((*FILE, "path"), "C:\\x.json", IntegrityError),
    "a pattern": ((*FILE, "path"), "cpu/[a-z].json", UsageError),
    "a path of another type": ((*FILE, "path"), None, UsageError),
    "code": ((*FILE, "path"), "cpu/model.py", IntegrityError),
    "a pickle": ((*FILE, "path"), "cpu/model.bin", IntegrityError),
    "no size": ((*FILE, "size_bytes"), ..., UsageError),
    "a negative size": ((*FILE, "size_bytes"), -1, UsageError),
    "a huge size": ((*FILE, "size_bytes"), 10**30, UsageError),
    "a size that is a truth": ((*FILE, "size_bytes"), True, UsageError),
    "no digest": ((*FILE, "git_sha1"), ..., UsageError),
    "a digest that is a path": ((*FILE, "sha256"), "../" * 21 + "x", IntegrityError),
    "a short digest": ((*FILE, "git_sha1"), "b" * 39, IntegrityError),
    "a digest of another type": ((*FILE, "git_sha1"), 7, IntegrityError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_lock_file_that_is_wrong_is_refused(case: str) -> None:
    place, value, expected = REFUSED[case]
    with pytest.raises(expected) as caught:
        parse_lock(json.dumps(change(RECORD, place, value)))
    assert caught.value.detail


def test_a_newer_lock_file_says_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        parse_lock('{"schema": "lf.lock/2"}')
    assert "newer lf" in (caught.value.hint or "")


TEXTS = {"empty": "", "cut": format_lock([MODEL])[:300], "deep": "[" * 100_000, "a long number": "9" * 10_000}


@pytest.mark.parametrize("case", TEXTS)
def test_what_is_no_json_is_refused(case: str) -> None:
    with pytest.raises(UsageError, match="This lock file cannot be used"):
        parse_lock(TEXTS[case])


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lf.lock"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UsageError) as caught:
        read_lock(path)
    assert caught.value.detail == "it is too large"


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_as_text_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "lf.lock").write_bytes(content)
    with pytest.raises(UsageError):
        read_lock(tmp_path / "lf.lock")


def check_safe(models: tuple[LockedModel, ...]) -> None:
    for model in models:
        assert model.name.isprintable()
        assert model.variant.isprintable()
        assert not {"/", "\\"} & set(model.name.removeprefix(f"hf:{model.repo}").partition("@")[0])
        assert model.format in get_args(Format)
        assert model.repo is None or (is_repo(model.repo) and is_commit(model.revision))
        check_paths((file.path for file in model.files), "a test")
        for file in model.files:
            assert 0 <= file.size_bytes <= 2**53
            assert model.repo is None or is_inert(file.path, model.format)
            assert file.sha256 or file.git_sha1
            assert file.sha256 is None or check_sha256(file.sha256, "a test")
            assert file.git_sha1 is None or check_sha1(file.git_sha1, "a test")


TEXT = format_lock([MODEL, HUB, BUILT_IN])


@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.characters()), min_size=1, max_size=6))
def test_any_changed_character_is_refused_or_safe(changes: list[tuple[int, str]]) -> None:
    letters = list(TEXT)
    for index, letter in changes:
        letters[index] = letter
    try:
        models = parse_lock("".join(letters))
    except (UsageError, IntegrityError):
        return
    check_safe(models)


PLACES = [
    *(("models", 1, key) for key in LockedModel._fields),
    *(("models", 1, "files", 0, key) for key in ("path", "size_bytes", "sha256", "git_sha1")),
    ("models", 1),
    ("models", 1, "files", 0),
    ("models",),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=60)
    | st.sampled_from(["../x", "hf:a/b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(PLACES), values)
def test_any_changed_value_is_refused_or_safe(place: tuple[Any, ...], value: object) -> None:
    try:
        models = parse_lock(json.dumps(change(json.loads(TEXT), place, value)))
    except (UsageError, IntegrityError):
        return
    check_safe(models)


def test_the_largest_lock_file_that_is_allowed_is_read_whole() -> None:
    models = [MODEL._replace(name=f"m{number}", files=MODEL.files * 1) for number in range(1000)]
    assert len(parse_lock(format_lock(models))) == 1000
    assert len(format_lock(models)) < lockfile.MAX_BYTES
    with pytest.raises(UsageError):
        parse_lock(format_lock([*models, BUILT_IN]))
