"""What `bundle.json` says: models, runtimes, and every file with its size and digest. Nothing of it is believed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, get_args

from localfirst.errors import IntegrityError, StoreError
from localfirst.store.names import check_paths, check_sha256, is_inert, is_repo, make_folder_name
from localfirst.types import Format, Host

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "lf.bundle/1"
INDEX = "bundle.json"
CATALOGS, MODELS, WHEELS = "catalogs", "models", "wheels"

INDEX_BYTES_MAX = 8_000_000
"""Of `bundle.json`: enough for 30,000 files."""
_TEXT_MAX = 1000
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
