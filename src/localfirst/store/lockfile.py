"""`lf.lock`: exactly which bytes some models consist of, as JSON that people can read and compare line by line.

    {"schema": "lf.lock/1", "lf_version": ..., "models": [{"name", "variant", "format", "quantization", "license",
     "repo", "revision", "files": [{"path", "size_bytes", "sha256" or "git_sha1"}]}]}

`repo` and `revision` are null for what is part of this program. What is parsed here comes from outside: every name,
path, size and digest is checked before anything is done with it. Keys that are not known are passed over.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import localfirst
from localfirst.errors import IntegrityError, UsageError
from localfirst.store.names import check_paths, check_sha1, check_sha256, is_commit, is_inert, is_repo
from localfirst.store.select import is_glob
from localfirst.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA = "lf.lock/1"
MAX_BYTES = 32 * 2**20
"""Larger files are no lock files. A thousand models of a hundred files each take 20 MB."""
_NAME = r"\w[\w .+-]*"
_REVISION = r"(?a)\w[\w./-]*"
_REWRITE = "Write one: `lf model lock MODEL > lf.lock`"
_MAX_MODELS = 1000
_MAX_FILES = 20_000
_MAX_TEXT = 300
_MAX_SIZE_BYTES = 2**53
"""Up to here every program reads the same number from JSON. Source: RFC 8259, section 6."""


class LockedFile(NamedTuple):
    """One file: at least one digest is known. Where both are, both hold."""

    path: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """The name of its git object: all that a hub tells of small files before they are fetched."""


class LockedModel(NamedTuple):
    """One build at one revision. `repo` and `revision` are `None` for what is part of this program."""

    name: str
    variant: str
    format: Format
    quantization: str | None
    license: str
    repo: str | None
    revision: str | None
    files: tuple[LockedFile, ...]

    @property
    def size_bytes(self) -> int:
        """The sum of its files."""
        return sum(file.size_bytes for file in self.files)


def format_lock(models: Iterable[LockedModel]) -> str:
    """The text of a lock file: the same for the same models, whatever their order."""
    record = {
        "schema": SCHEMA,
        "lf_version": localfirst.__version__,
        "models": [_make_record(model) for model in sorted(models, key=lambda model: (model.name, model.variant))],
    }
    return json.dumps(record, indent=2) + "\n"


def _make_record(model: LockedModel) -> dict[str, object]:
    files = sorted(model.files, key=lambda file: file.path)
    return model._asdict() | {
        "files": [{key: value for key, value in file._asdict().items() if value is not None} for file in files]
    }


def read_lock(path: Path) -> tuple[LockedModel, ...]:
    """The models that a lock file lists.

    Raises:
        UsageError: it cannot be read, or is no lock file of a kind that is known here.
        IntegrityError: a path or a digest in it is not safe to use.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _refuse("it is too large", _REWRITE)
        return parse_lock(content.decode())
    except OSError as error:
        raise UsageError(f"{path} cannot be read", detail=error.strerror) from error
    except UnicodeDecodeError as error:
        raise _refuse("it is not UTF-8", _REWRITE) from error


def parse_lock(text: str) -> tuple[LockedModel, ...]:
    """The models that the text of a lock file lists.

    Raises:
        UsageError, IntegrityError: as `read_lock`.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refuse(f"it is no JSON: {error}", _REWRITE) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith("lf.lock/"):
            raise _refuse(f"its schema is {ascii(schema)[:40]}", "It was written by a newer lf: install that.")
        raise _refuse(f"its schema is not {SCHEMA}", _REWRITE)
    listed = record.get("models")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_MODELS:
        raise _refuse("`models` is no list of models")
    models = tuple(_parse_model(value, f"models[{index}]") for index, value in enumerate(listed))
    if len({(model.name, model.variant) for model in models}) < len(models):
        raise _refuse("it lists a build twice")
    return models


def _refuse(problem: str, hint: str | None = None) -> UsageError:
    return UsageError("This lock file cannot be used", detail=problem, hint=hint)


def _parse_model(value: Any, place: str) -> LockedModel:
    if not isinstance(value, dict):
        raise _refuse(f"`{place}` is no object")
    name, repo, revision = _parse_text(value, "name", place), value.get("repo"), value.get("revision")
    if value.get("format") not in get_args(Format):
        raise _refuse(f"`{place}.format` is no format of models")
    if (repo is None) != (revision is None):
        raise _refuse(f"`{place}` has a repository or a revision, not both")
    if repo is not None and not (isinstance(repo, str) and is_repo(repo)):
        raise _refuse(f"`{place}.repo` is not the name of a repository")
    if revision is not None and not (isinstance(revision, str) and is_commit(revision)):
        raise _refuse(f"`{place}.revision` is no commit of 40 digits")
    _check_name(name, repo, revision, place)
    listed = value.get("files")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_FILES:
        raise _refuse(f"`{place}.files` is no list of files")
    files = tuple(_parse_file(file, f"{place}.files[{index}]") for index, file in enumerate(listed))
    check_paths((file.path for file in files), "This lock file")
    if len({file.path for file in files}) < len(files):
        raise _refuse(f"`{place}` lists a file twice")
    for file in files if repo is not None else ():
        if not is_inert(file.path, value["format"]):
            raise IntegrityError("This lock file has a file of a kind that is never fetched", detail=file.path)
    quantization = None if value.get("quantization") is None else _parse_text(value, "quantization", place)
    return LockedModel(
        name,
        _parse_text(value, "variant", place),
        value["format"],
        quantization,
        _parse_text(value, "license", place),
        repo,
        revision,
        files,
    )


def _check_name(name: str, repo: str | None, revision: str | None, place: str) -> None:
    """A name must be one that can be typed; where it says a repository or a commit, that is the one to be fetched."""
    if not name.lower().startswith("hf:"):
        if not re.fullmatch(_NAME, name):
            raise _refuse(f"`{place}.name` is not the name of a model")
        return
    named, _, at = name.removeprefix("hf:").partition("@")
    if named != repo or (is_commit(at) and at != revision) or (at and not re.fullmatch(_REVISION, at)):
        raise _refuse(f"`{place}.name` names another repository or commit than is to be fetched")


def _parse_text(value: dict[str, Any], key: str, place: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_TEXT or not text.isprintable() or text != text.strip():
        raise _refuse(f"`{place}.{key}` is no short text")
    return text


def _parse_file(value: Any, place: str) -> LockedFile:
    if not isinstance(value, dict):
        raise _refuse(f"`{place}` is no object")
    path, size, sha256, git_sha1 = (value.get(key) for key in LockedFile._fields)
    if not isinstance(path, str) or is_glob(path):
        raise _refuse(f"`{place}.path` is no path of one file")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE_BYTES:
        raise _refuse(f"`{place}.size_bytes` is no size")
    if sha256 is None and git_sha1 is None:
        raise _refuse(f"`{place}` has no digest")
    return LockedFile(
        path,
        size,
        None if sha256 is None else check_sha256(sha256, "This lock file"),
        None if git_sha1 is None else check_sha1(git_sha1, "This lock file"),
    )
