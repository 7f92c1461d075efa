"""The format of bundles: every byte is determined, and nothing hostile gets as far as a file."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localfirst.errors import DiskFullError, IntegrityError, LfError, StoreError, UsageError
from localfirst.store.bundles.contents import (
    Contents,
    Member,
    PackedModel,
    PackedRuntime,
    Target,
    format_contents,
    make_contents,
    parse_contents,
)
from localfirst.store.bundles.frame import make_end, make_header, make_padding, make_start, measure
from localfirst.store.bundles.read import open_bundle
from localfirst.store.bundles.write import write_bundle
from localfirst.store.progress import ignore

RANDOM = random.Random(5)  # noqa: S311 (the same bytes in every run)
MODEL = PackedModel("tiny", "q4_0", "gguf", "Q4_0", "huggingface", "org/tiny", "a" * 40, "Tiny \u00e9", "mit")
RUNTIME = PackedRuntime("llama-cpu", "llama.cpp", "1.0")
FILES = {
    "catalogs/built-in.yaml": b"models: []\n",
    "models/tiny@q4_0/deep/er/model.gguf": RANDOM.randbytes(3000),
    "models/tiny@q4_0/empty.json": b"",
    "models/tiny@q4_0/" + "long-" * 24 + "\u00fc.txt": b"x" * 512,
    "wheels/llama-cpu/tiny-1.0-py3-none-any.whl": RANDOM.randbytes(700),
}


def make_bundle(folder: Path, files: dict[str, bytes] = FILES, **changes: Any) -> Path:
    """Write a bundle of these files."""
    sources, members = {}, []
    for number, (path, content) in enumerate(files.items()):
        sources[path] = folder / f"source-{number}"
        sources[path].write_bytes(content)
        members.append(Member(path, len(content), hashlib.sha256(content).hexdigest()))
    values = {"models": (MODEL,), "runtimes": (RUNTIME,), **changes}
    contents = make_contents("0.1.0", Target("linux", "x86_64", "3.12"), members=tuple(members), **values)
    target = folder / "tiny.bundle.tar"
    write_bundle(target, contents, sources, ignore)
    return target


def read(path: Path, folder: Path | None = None) -> Contents:
    with open_bundle(path) as opened:
        opened.unpack(lambda member: folder / member.path if folder else None, ignore)
        return opened.contents


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made"))


def test_what_goes_in_comes_out(made: Path, tmp_path: Path) -> None:
    contents = read(made, tmp_path)
    assert (contents.models, contents.runtimes) == ((MODEL,), (RUNTIME,))
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == FILES
    assert [file.path for file in contents.find_members(MODEL.folder)][:2] == ["deep/er/model.gguf", "empty.json"]
    assert measure(contents) == made.stat().st_size


def test_any_tar_program_reads_a_bundle(made: Path) -> None:
    with tarfile.open(made) as tar:
        names = tar.getnames()
        content = {name: tar.extractfile(name).read() for name in names}
    assert names == ["bundle.json", "bundle.json.sha256", *sorted(FILES)]
    assert {name: content[name] for name in FILES} == FILES
    assert content["bundle.json.sha256"].decode().split()[0] == hashlib.sha256(content["bundle.json"]).hexdigest()
    if tar_program := shutil.which("tar"):
        listed = subprocess.run([tar_program, "tf", made], capture_output=True, check=True)
        assert (len(listed.stdout.splitlines()), listed.stderr) == (len(names), b"")


def test_the_same_files_make_the_same_bytes(made: Path, tmp_path: Path) -> None:
    assert make_bundle(tmp_path, dict(reversed(FILES.items()))).read_bytes() == made.read_bytes()


def test_headers_are_the_same_for_every_python() -> None:
    """A bundle is compared with the headers that the reader's own Python makes, also beyond 8 GiB and 100 letters."""
    headers = b"".join(
        make_header(path, size) for path, size in [("a", 1), ("b" * 150 + "\u00fc", 2), ("c", 9 * 2**30)]
    )
    assert hashlib.sha256(headers).hexdigest() == "d8455272b1f5a6fc92f152d22c731923ca0885c0e9405c889079beb3b74dbb86"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_found(made: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(made.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path / "flipped"
    flipped.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        read(flipped)
    assert caught.value.exit_code == 7


def test_every_byte_counts(made: Path, tmp_path: Path) -> None:
    """Not one of the first 4 KB, where the headers are, nor of the last ones."""
    content, flipped = made.read_bytes(), tmp_path / "flipped"
    for index in (*range(4096), *range(len(content) - 1024, len(content))):
        flipped.write_bytes(content[:index] + bytes([content[index] ^ 0x20]) + content[index + 1 :])
        with pytest.raises(IntegrityError):
            read(flipped)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_bundle_of_another_length_is_refused_before_it_is_read(
    made: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = made.read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    for other in (content[:cut], content + bytes(cut + 1)):
        (tmp_path / "other").write_bytes(other)
        with pytest.raises(IntegrityError), open_bundle(tmp_path / "other"):
            pytest.fail("it was opened")


def forge(made: Path, target: Path, change: Any, files: dict[str, bytes] | None = None) -> Path:
    """A bundle with another `bundle.json`, whose digest and headers are right all the same."""
    with open_bundle(made) as opened:
        record = json.loads(format_contents(opened.contents))
    change(record)
    text = (json.dumps(record) + "\n").encode()
    content = make_start(text)
    for member in record["members"]:
        data = {**FILES, **(files or {})}.get(member["path"], b"")
        content += make_header(str(member["path"]), len(data)) + data + make_padding(len(data))
    target.write_bytes(content + make_end(len(content)))
    return target


def add(path: object, size: object = 0, sha256: object = hashlib.sha256().hexdigest()) -> Any:
    return lambda record: record["members"].append({"path": path, "size_bytes": size, "sha256": sha256})


def put(*keys: object) -> Any:
    *way, last, value = keys

    def change(record: Any) -> None:
        for key in way:
            record = record[key]
        record[last] = value

    return change


TWO = {"name": "two", "variant": "q4_0"}
HOSTILE = {
    "a path that climbs": add("models/tiny@q4_0/../../../x.json"),
    "an absolute path": add("/etc/x.json"),
    "a drive": add("models/tiny@q4_0/C:x.json"),
    "a reserved name": add("models/tiny@q4_0/con.json"),
    "a path twice": add("models/tiny@q4_0/empty.json"),
    "a path in another case": add("models/tiny@q4_0/EMPTY.json"),
    "a file below a file": add("models/tiny@q4_0/empty.json/x.json"),
    "code": add("models/tiny@q4_0/run.py"),
    "a pickle": add("models/tiny@q4_0/weights.bin"),
    "a model that is not listed": add("models/other@q4_0/model.gguf"),
    "a runtime that is not listed": add("wheels/onnx-cpu/x-1.0-py3-none-any.whl"),
    "no wheel": add("wheels/llama-cpu/setup.cfg"),
    "a wheel in a folder": add("wheels/llama-cpu/x/x-1.0-py3-none-any.whl"),
    "a file beside": add("extra.json"),
    "its own index": add("bundle.json"),
    "a catalog in a folder": add("catalogs/x/y.yaml"),
    "no path": add(None),
    "a path with a line end": add("models/tiny@q4_0/a\nb.json"),
    "a negative size": add("models/tiny@q4_0/x.json", -1),
    "a huge size": add("models/tiny@q4_0/x.json", 2**70),
    "a size that is true": add("models/tiny@q4_0/x.json", True),
    "a digest that is a path": add("models/tiny@q4_0/x.json", 0, "../../x"),
    "a model without files": lambda record: record["models"].append({**record["models"][0], **TWO}),
    "a model twice": lambda record: record["models"].append(record["models"][0]),
    "a runtime twice": lambda record: record["runtimes"].append(record["runtimes"][0]),
    "a runtime that climbs": put("runtimes", 0, "name", "../x"),
    "no name": put("models", 0, "name", ""),
    "a name that drives a terminal": put("models", 0, "name", "\x1b[2J"),
    "a repository that climbs": put("models", 0, "repo", "../x"),
    "a repository that meets another's folder": put("models", 0, "repo", "a--b/c"),
    "a revision that climbs": put("models", 0, "revision", "../../x"),
    "no revision": put("models", 0, "revision", None),
    "an unknown host": put("models", 0, "host", "ftp"),
    "an unknown format": put("models", 0, "format", "pickle"),
    "a platform that is none": put("target", "platform", "../linux"),
    "a Python that is none": put("target", "python", "3.x"),
    "no target": put("target", None),
    "models that are none": put("models", 5),
    "a schema that is none": put("schema", "zip"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_bundle_is_refused_before_anything_is_written(made: Path, tmp_path: Path, change: Any) -> None:
    forged = forge(made, tmp_path / "forged", change)
    with pytest.raises(IntegrityError):
        read(forged, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["forged"]


def test_the_forge_itself_forges_well(made: Path, tmp_path: Path) -> None:
    assert read(forge(made, tmp_path / "same", lambda _: None)).models == (MODEL,)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, b"S", b"x"])
def test_only_plain_files_are_members(made: Path, tmp_path: Path, kind: bytes) -> None:
    content = made.read_bytes()
    plain = make_header("models/tiny@q4_0/empty.json", 0)
    info = tarfile.TarInfo("models/tiny@q4_0/empty.json")
    info.type, info.linkname = kind, "/etc/passwd"
    (tmp_path / "link").write_bytes(content.replace(plain, info.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(IntegrityError, match=r"damaged at models/tiny@q4_0/empty\.json"):
        read(tmp_path / "link", tmp_path / "out")


def test_a_newer_bundle_is_told_as_such(made: Path, tmp_path: Path) -> None:
    forged = forge(made, tmp_path / "forged", lambda record: record.update(schema="lf.bundle/2", lf_version="9.0"))
    with pytest.raises(StoreError, match="made by another version of lf") as caught:
        read(forged)
    assert caught.value.detail == "its schema is lf.bundle/2, of lf 9.0; this lf reads lf.bundle/1"


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{}", b"[]", b"null", b"\xff", b'{"schema": 1e999}', b"9" * 5000])
def test_an_index_that_is_none_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(make_start(text) + bytes(10240))
    with pytest.raises(IntegrityError):
        read(tmp_path / "x")


def test_an_index_is_read_up_to_a_bound(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.write(make_header("bundle.json", 2**40))
        file.truncate(2**40)
    with pytest.raises(IntegrityError, match="not a bundle"):
        read(tmp_path / "x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bytes(20480)])
def test_another_file_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(IntegrityError, match="x is not a bundle of lf"):
        read(tmp_path / "x")


def test_no_file_is_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "x"):
        with pytest.raises(UsageError):
            read(path)


def spoil_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def spoil_length(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("spoil", "error"), [(spoil_bytes, IntegrityError), (spoil_length, IntegrityError), (Path.unlink, StoreError)]
)
def test_a_file_that_changed_is_not_packed(tmp_path: Path, spoil: Any, error: type[LfError]) -> None:
    """What is in the store may have rotted since it was verified; a bundle never carries it on."""
    good = make_bundle(tmp_path)
    contents = read(good)
    good.unlink()
    spoil(tmp_path / "source-1")
    sources = {path: tmp_path / f"source-{number}" for number, path in enumerate(FILES)}
    with pytest.raises(error):
        write_bundle(good, contents, sources, ignore)
    assert not list(tmp_path.glob("tiny.bundle.tar*"))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_disk_that_fills_up_is_told_and_leaves_no_part_of_a_bundle(tmp_path: Path) -> None:
    import resource

    whole = make_bundle(tmp_path).rename(tmp_path / "whole")
    contents = read(whole)
    sources = {path: tmp_path / f"source-{number}" for number, path in enumerate(FILES)}
    again = tmp_path / "again"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        for action in (
            lambda: write_bundle(again, contents, sources, ignore),
            lambda: read(whole, tmp_path / "out"),
        ):
            with pytest.raises(DiskFullError) as caught:
                action()
            assert "Nothing of the bundle was kept." in caught.value.detail
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob("again*"))


def test_too_small_a_disk_is_told_with_both_numbers(made: Path, tmp_path: Path) -> None:
    with open_bundle(made) as opened:
        contents = opened.contents
    huge = contents._replace(members=(Member("models/tiny@q4_0/model.gguf", 10**17, "0" * 64),))
    with pytest.raises(DiskFullError, match="Not enough space: 105000 TB needed, "):
        write_bundle(tmp_path / "x", huge, {}, ignore)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_any_value_anywhere_in_the_index_is_an_error_of_ours(made: Path, value: object) -> None:
    with open_bundle(made) as opened:
        record = json.loads(format_contents(opened.contents))
    places = [("schema",), ("target",), ("models",), ("runtimes",), ("members",), ("lf_version",)]
    places += [("models", 0, key) for key in record["models"][0]] + [("members", 0, key) for key in ("path", "sha256")]
    for place in places:
        changed = copy.deepcopy(record)
        put(*place, value)(changed)
        try:
            parse_contents(json.dumps(changed).encode(), "x")
        except LfError:
            continue
