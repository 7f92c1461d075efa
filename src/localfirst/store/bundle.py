"""Bundles: one file with all that a machine without a network needs. Its format, how it is written, how it is read.

An uncompressed tar of plain files. The first member, `bundle.json`, names all others with sizes and digests, the second
is its own digest; every other byte (headers, padding, the end) follows from these, so that no byte can be another
without being noticed, and the file's length is known before its content is read. Members:

* `bundle.json`, `bundle.json.sha256` (as `sha256sum` writes it)
* `catalogs/<name>.yaml`: the models' entries of the catalogs that they were found in
* `models/<model>/<the model's own paths>`
* `wheels/<runtime>/<file>.whl`

What is in a bundle comes from anyone: names are checked before anything is written, digests before anything is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, get_args

from localfirst.errors import DiskFullError, IntegrityError, StoreError, UsageError
from localfirst.store.disk import MORE_SPACE, READ_BYTES, check_space, explained, is_full, sync_file, sync_folder
from localfirst.store.names import check_paths, check_sha256, is_inert, is_repo, make_folder_name
from localfirst.store.progress import Meter
from localfirst.types import Format, Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from localfirst.store.progress import Report

SCHEMA = "lf.bundle/1"
INDEX = "bundle.json"
INDEX_DIGEST = f"{INDEX}.sha256"
CATALOGS, MODELS, WHEELS = "catalogs", "models", "wheels"

INDEX_BYTES_MAX = 8_000_000
"""Of `bundle.json`: enough for 30,000 files."""
_TEXT_MAX = 1000
_WHAT = "bundle"
_OTHER_PLACE = "Free some space, or name a place with more: `-o FILE`"
_HOSTS: tuple[Host, ...] = ("huggingface", "import", "builtin")
_SYSTEM = re.compile(r"[a-z0-9_]{1,20}")
_PYTHON = re.compile(r"3\.\d{1,2}")
_REVISION = re.compile(r"(?a)[\w][\w.-]{0,99}")
_CATALOG_MEMBER = re.compile(rf"{CATALOGS}/[a-z0-9._-]+\.yaml")


class Target(NamedTuple):
    """The machine that a bundle is for: `sys.platform`, architecture, and the Python that its wheels are for."""

    platform: str
    arch: str
    python: str


class Member(NamedTuple):
    """A file in a bundle."""

    path: str
    size_bytes: int
    sha256: str


class PackedModel(NamedTuple):
    """A model in a bundle. One that is part of `lf` has no files there."""

    name: str
    variant: str
    format: Format
    quantization: str | None
    host: Host
    repo: str | None
    revision: str | None
    title: str | None
    license: str | None

    @property
    def folder(self) -> str:
        """Where its files are in the bundle."""
        return f"{MODELS}/{make_folder_name(f'{self.name}@{self.variant}')}"


class PackedRuntime(NamedTuple):
    """A runtime in a bundle, as wheels."""

    name: str
    engine: str
    version: str

    @property
    def folder(self) -> str:
        """Where its wheels are in the bundle."""
        return f"{WHEELS}/{self.name}"


class Contents(NamedTuple):
    """What `bundle.json` says."""

    lf_version: str
    target: Target
    models: tuple[PackedModel, ...]
    runtimes: tuple[PackedRuntime, ...]
    members: tuple[Member, ...]
    """Every other file, in the bundle's order."""

    def find_members(self, folder: str, *, whole: bool = False) -> tuple[Member, ...]:
        """The members in a folder, with the paths that they have from there, or their `whole` ones."""
        start = f"{folder}/"
        found = (one for one in self.members if one.path.startswith(start))
        return tuple(one if whole else one._replace(path=one.path.removeprefix(start)) for one in found)

    def find_wheels(self, runtime: str) -> dict[str, str]:
        """The digests of a runtime's wheels, by file name."""
        return {member.path: member.sha256 for member in self.find_members(f"{WHEELS}/{runtime}")}


def make_contents(
    lf_version: str,
    target: Target,
    models: tuple[PackedModel, ...],
    runtimes: tuple[PackedRuntime, ...],
    members: tuple[Member, ...],
) -> Contents:
    """The contents in the order of a bundle.

    Raises:
        IntegrityError: a name or a file is of a kind that no bundle may have.
    """
    contents = Contents(lf_version, target, models, runtimes, tuple(sorted(members)))
    return parse_contents(format_contents(contents), "The bundle")


def format_contents(contents: Contents) -> bytes:
    """The text of `bundle.json`: the same for the same contents."""
    record = {
        "schema": SCHEMA,
        "lf_version": contents.lf_version,
        "target": contents.target._asdict(),
        "models": [model._asdict() for model in contents.models],
        "runtimes": [runtime._asdict() for runtime in contents.runtimes],
        "members": [member._asdict() for member in contents.members],
    }
    return (json.dumps(record, indent=1) + "\n").encode()


def parse_contents(text: bytes, source: str) -> Contents:
    """What the text of a `bundle.json` says; `source` is the file's name in messages.

    Raises:
        IntegrityError: it is not what this program writes, or has a name, a digest or a kind of file that is refused.
        StoreError: a newer version of this program wrote it.
    """
    try:
        record = json.loads(text)
        schema = str(record["schema"])
        if schema != SCHEMA:
            _refuse_schema(schema, source, record)
        contents = Contents(
            lf_version=_text(record["lf_version"]),
            target=_parse_target(record["target"]),
            models=tuple(map(_parse_model, record["models"])),
            runtimes=tuple(map(_parse_runtime, record["runtimes"])),
            members=tuple(_parse_member(item, source) for item in record["members"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{source} is not a bundle: its `{INDEX}` is damaged", detail=repr(error)[:200]) from error
    _check_members(contents, source)
    return contents


def _refuse_schema(schema: str, source: str, record: Any) -> NoReturn:
    if not re.fullmatch(r"lf\.bundle/\d{1,6}", schema):
        raise ValueError(f"the schema is not {SCHEMA}")
    raise StoreError(
        f"{source} was made by another version of lf, and this one cannot read it",
        detail=f"its schema is {schema}, of lf {str(record.get('lf_version'))[:40]}; this lf reads {SCHEMA}",
        hint="Update lf here, or make the bundle with the version that is here",
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX or not value.isprintable():
        raise ValueError(f"no text: {ascii(value)[:80]}")
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    text = _text(value)
    if not pattern.fullmatch(text):
        raise ValueError(f"not allowed: {ascii(text)[:80]}")
    return text


def _parse_target(record: Any) -> Target:
    platform, arch = (_matching(record[key], _SYSTEM) for key in ("platform", "arch"))
    return Target(platform, arch, _matching(record["python"], _PYTHON))


def _parse_model(record: Any) -> PackedModel:
    model_format: Any = record["format"]
    host: Any = record["host"]
    if model_format not in get_args(Format) or host not in _HOSTS:
        raise ValueError("unknown `format` or `host`")
    repo, revision = _optional(record["repo"]), _optional(record["revision"])
    if (repo is None) != (revision is None) or (host == "huggingface" and repo is None):
        raise ValueError("a repository needs a revision, and a model of a hub both")
    if repo is not None and revision is not None and not (is_repo(repo) and _REVISION.fullmatch(revision)):
        raise ValueError(f"no repository or revision: {ascii(repo)[:120]} {ascii(revision)[:120]}")
    return PackedModel(
        name=_text(record["name"]),
        variant=_text(record["variant"]),
        format=model_format,
        quantization=_optional(record["quantization"]),
        host=host,
        repo=repo,
        revision=revision,
        title=_optional(record["title"]),
        license=_optional(record["license"]),
    )


def _parse_runtime(record: Any) -> PackedRuntime:
    name = _matching(record["name"], re.compile(r"[a-z0-9-]{1,40}"))
    return PackedRuntime(name, _text(record["engine"]), _text(record["version"]))


_MOST_BYTES = 2**53
"""Larger than any file, and what every JSON reader has exactly."""


def _parse_member(record: Any, source: str) -> Member:
    size = record["size_bytes"]
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _MOST_BYTES:
        raise ValueError("`size_bytes` is no size")
    return Member(_text(record["path"]), size, check_sha256(record["sha256"], source))


def _check_members(contents: Contents, source: str) -> None:
    """Refuse members that nothing in the bundle needs, that are of no allowed kind, or that are there twice."""
    paths = [member.path for member in contents.members]
    check_paths(paths, source)
    parents = {path[:index] for path in paths for index, letter in enumerate(path) if letter == "/"}
    folders = [model.folder for model in contents.models] + [runtime.folder for runtime in contents.runtimes]
    twice = len(set(paths)) != len(paths) or len(set(folders)) != len(folders)
    if twice or parents & set(paths):
        raise IntegrityError(f"{source} has two files, models or runtimes of one name")
    formats = {model.folder: model.format for model in contents.models if model.host != "builtin"}
    wheels = {runtime.folder for runtime in contents.runtimes}
    for path in paths:
        if not _is_allowed(path, formats, wheels):
            raise IntegrityError(f"{source} has a file that does not belong into a bundle", detail=ascii(path))
    if empty := {*formats, *wheels} - {_find_folder(path) for path in paths}:
        raise IntegrityError(f"{source} has no files for what it says to hold", detail=ascii(sorted(empty)))


def _find_folder(path: str) -> str:
    return "/".join(path.split("/")[:2])


def _is_allowed(path: str, formats: Mapping[str, Format], wheels: set[str]) -> bool:
    folder = _find_folder(path)
    if folder in formats:
        return is_inert(path, formats[folder])
    if folder in wheels:
        return path.count("/") == 2 and path.endswith(".whl")
    return _CATALOG_MEMBER.fullmatch(path) is not None


def _make_header(path: str, size_bytes: int) -> bytes:
    """The tar header of a member: a plain file of nobody, without a date."""
    info = tarfile.TarInfo(path)
    info.size = size_bytes
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _make_digest(text: bytes) -> bytes:
    return f"{hashlib.sha256(text).hexdigest()}  {INDEX}\n".encode()


def _make_start(text: bytes) -> bytes:
    """The bytes of a bundle before its first member."""
    digest = _make_digest(text)
    return b"".join(
        _make_header(path, len(content)) + content + _make_padding(len(content))
        for path, content in ((INDEX, text), (INDEX_DIGEST, digest))
    )


def _make_padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % tarfile.BLOCKSIZE)


def _make_end(size_bytes: int) -> bytes:
    """Two empty blocks at least, to whole records, as tar ends."""
    least = 2 * tarfile.BLOCKSIZE
    return bytes(least + -(size_bytes + least) % tarfile.RECORDSIZE)


def measure(contents: Contents) -> int:
    """The size of the bundle's file, in bytes."""
    size = len(_make_start(format_contents(contents)))
    return _measure(size, contents)


def _measure(start_bytes: int, contents: Contents) -> int:
    size = start_bytes + sum(
        len(_make_header(one.path, one.size_bytes)) + one.size_bytes + len(_make_padding(one.size_bytes))
        for one in contents.members
    )
    return size + len(_make_end(size))


# Writing


class _Source:
    """A file on its way into a bundle: hashed while it is read."""

    def __init__(self, file: BinaryIO, path: str, meter: Meter) -> None:
        self._file, self._path, self._meter = file, path, meter
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        self._meter.add(len(block), self._path)
        return block


def write(target: Path, contents: Contents, sources: Mapping[str, Path], report: Report) -> int:
    """Write a bundle; it appears whole or not at all. Returns its size in bytes.

    `sources` are the files by their paths in the bundle.

    Raises:
        DiskFullError: before the first byte if it cannot fit, else where the disk ended; nothing is kept.
        IntegrityError: a file is not what the contents say.
        StoreError: a file cannot be read, or the bundle not be written.
    """
    size = measure(contents)
    require_space(target, size)
    meter = Meter(_WHAT, sum(member.size_bytes for member in contents.members), report)
    partial = target.with_name(f"{target.name}.tmp")
    try:
        with _writing(target), partial.open("wb") as file:
            file.write(_make_start(format_contents(contents)))
            with tarfile.TarFile(
                fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", copybufsize=READ_BYTES
            ) as tar:
                for member in contents.members:
                    _add(tar, member, sources[member.path], meter)
            file.flush()
            sync_file(file.fileno())
        with _writing(target):
            partial.replace(target)
            sync_folder(target.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return size


def require_space(target: Path, size_bytes: int) -> None:
    """Refuse to begin a bundle that cannot end.

    Raises:
        DiskFullError: with both numbers.
    """
    check_space(target.absolute().parent, size_bytes, hint=_OTHER_PLACE)


def _add(tar: tarfile.TarFile, member: Member, source: Path, meter: Meter) -> None:
    info = tarfile.TarInfo(member.path)
    info.size = member.size_bytes
    with explained(source):
        file = source.open("rb")
    with file:
        found_bytes = os.fstat(file.fileno()).st_size
        reader = _Source(file, member.path, meter)
        if found_bytes == member.size_bytes:
            tar.addfile(info, reader)  # type: ignore[arg-type] # it is only read
    found = reader.digest.hexdigest()
    if (found_bytes, found) != (member.size_bytes, member.sha256):
        raise IntegrityError(
            f"{source.name} is not what it was when it was fetched or imported",
            detail=f"{source}\nknown: {member.sha256}, {member.size_bytes} bytes\nfound: {found}, {found_bytes} bytes",
            hint="See what else is damaged: `lf model verify --all`",
        )


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise _make_full(error, target, _OTHER_PLACE) from error
        raise StoreError(
            f"The bundle cannot be written: {error.strerror or error}",
            detail=str(error.filename or target),
            hint="Name another place: `-o FILE`",
        ) from error


def _make_full(error: OSError, path: Path, hint: str) -> DiskFullError:
    return DiskFullError(
        f"The disk is full: {error.strerror}", detail=f"{path}\nNothing of the bundle was kept.", hint=hint
    )


# Reading


class Bundle:
    """A bundle that is open for reading; its beginning and its length are right, the rest is not read yet."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """Read and check the beginning.

        Raises:
            IntegrityError: it is no bundle, damaged, or of another length than it says.
            StoreError: a newer version of this program made it.
        """
        self._file, self._name = file, path.name
        text = self._read_index()
        self.contents = parse_contents(text, self._name)
        self._start_bytes = len(_make_start(text))
        self.size_bytes = os.fstat(file.fileno()).st_size
        announced = _measure(self._start_bytes, self.contents)
        if self.size_bytes != announced:
            what = "is cut short" if self.size_bytes < announced else "has something behind its end"
            raise IntegrityError(
                f"{self._name} {what}",
                detail=f"it should have {announced} bytes and has {self.size_bytes}",
                hint="Copy it again from where it was made",
            )

    def _read_index(self) -> bytes:
        header = self._read(tarfile.BLOCKSIZE)
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            size = info.size if 0 < info.size <= INDEX_BYTES_MAX else 0
        except (tarfile.HeaderError, ValueError):
            size = 0
        if header != _make_header(INDEX, size):
            raise IntegrityError(
                f"{self._name} is not a bundle of lf, or its beginning is damaged",
                detail=f"it does not begin with `{INDEX}`",
            )
        text = self._read(size)
        start = _make_start(text)
        read = len(header) + len(text)
        if len(text) != size or self._read(len(start) - read) != start[read:]:
            raise self._damaged(INDEX, "its digest is another than the one behind it")
        return text

    def unpack(self, place: Callable[[Member], Path | None], report: Report) -> None:
        """Read every byte once, and write the members where `place` says (`None`: nowhere).

        All is written and synced when this returns; when it raises, nothing of it may be used.

        Raises:
            IntegrityError: a byte is not what it should be.
            DiskFullError, StoreError: a member cannot be written.
        """
        meter = Meter(_WHAT, sum(member.size_bytes for member in self.contents.members), report)
        self._file.seek(self._start_bytes)
        for member in self.contents.members:
            self._expect(_make_header(member.path, member.size_bytes), member.path)
            target = place(member)
            if target is None:
                digest = self._copy(member, None, meter)
            else:
                with _unpacking(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("xb") as file:
                        digest = self._copy(member, file, meter)
                        file.flush()
                        sync_file(file.fileno())
            if digest != member.sha256:
                raise self._damaged(member.path, f"announced: {member.sha256}\nfound:     {digest}")
            self._expect(_make_padding(member.size_bytes), member.path)
        self._expect(bytes(self.size_bytes - self._file.tell()), "its end")

    def _copy(self, member: Member, target: BinaryIO | None, meter: Meter) -> str:
        digest = hashlib.sha256()
        left = member.size_bytes
        while left:
            block = self._read(min(left, READ_BYTES))
            if not block:
                raise self._damaged(member.path, "the file ends here")
            digest.update(block)
            if target is not None:
                target.write(block)
            left -= len(block)
            meter.add(len(block), member.path)
        return digest.hexdigest()

    def _expect(self, wanted: bytes, where: str) -> None:
        if self._read(len(wanted)) != wanted:
            raise self._damaged(where, "the bytes between the files are not those of a bundle")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise StoreError(f"{self._name} cannot be read", detail=error.strerror) from error

    def _damaged(self, where: str, detail: str) -> IntegrityError:
        return IntegrityError(
            f"{self._name} is damaged at {where}",
            detail=detail,
            hint="Nothing of it was used. Copy it again from where it was made",
        )


@contextmanager
def _unpacking(target: Path) -> Iterator[None]:
    with explained(target):
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise _make_full(error, target, MORE_SPACE) from error
            raise


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        IntegrityError, StoreError: as `Bundle`.
    """
    if not path.is_file():
        problem = f"{path} is no plain file" if path.exists() else f"There is no file {path}"
        raise UsageError(problem, hint="Give the path of a bundle that `lf bundle create` made")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read", detail=error.strerror) from error
    with file:
        yield Bundle(file, path)
