r"""Names and digests from outside: what a hub, a manifest or a folder says is checked here before it meets a path.

Rules for a path: relative, `/` between parts, no `.` or `..`, nothing that Windows reads differently (`\`, drives,
reserved device names, trailing dots and spaces), no control characters, no two paths that differ only in case.
Source for the reserved names: Microsoft, "Naming Files, Paths, and Namespaces".
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from localfirst.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.types import Format

# Patterns are texts: `re` compiles one when it is first used.
_SHA256 = r"[0-9a-f]{64}"
_SHA1 = r"[0-9a-f]{40}"
_REPO = r"(?a)[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}"
_RESERVED = r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?"
_FORBIDDEN = r'[\\:*?"<>|]'
_MAX_PATH = 400

_INERT = r"(?i)\.(gguf|safetensors|onnx|onnx[._]data(_\d+)?|json|jinja|model|txt|xml|litertlm|llamafile)"
_LICENCE = r"(?i)(licen[cs]e|notice|copying|use_policy|terms)([-_][\w-]*)?(\.(md|txt|rst|pdf))?"


def _is_hostile(path: str) -> bool:
    if not path or len(path) > _MAX_PATH or re.search(_FORBIDDEN, path):
        return True
    # Cc: control characters; Cf: bidirectional overrides, which make a name look like another; Cs: lone surrogates.
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in path):
        return True
    return any(
        part in {"", ".", ".."} or part[-1] in ". " or re.fullmatch(_RESERVED, part) is not None
        for part in path.split("/")
    )


def check_paths(paths: Iterable[str], source: str) -> None:
    """Refuse a listing with a path that could leave its folder or mean another file on some system.

    Raises:
        IntegrityError: the first such path, made printable, and where it came from.
    """
    seen: dict[str, str] = {}
    for path in paths:
        if _is_hostile(path):
            raise IntegrityError(f"{source} has a file name that is not safe to write", detail=ascii(path))
        # NFC and case: macOS and Windows would write both names to one file.
        twin = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if twin != path:
            raise IntegrityError(f"{source} has two file names that differ only in case", detail=f"{twin}\n{path}")


def check_sha256(digest: object, source: str) -> str:
    """The digest itself.

    Raises:
        IntegrityError: it is not 64 lower-case hexadecimal digits.
    """
    if not isinstance(digest, str) or not re.fullmatch(_SHA256, digest):
        raise IntegrityError(f"{source} has a digest that is no SHA-256", detail=ascii(digest)[:200])
    return digest


def check_sha1(digest: object, source: str) -> str:
    """A git object's or commit's name itself.

    Raises:
        IntegrityError: it is not 40 lower-case hexadecimal digits.
    """
    if not isinstance(digest, str) or not re.fullmatch(_SHA1, digest):
        raise IntegrityError(f"{source} has a git digest that is no SHA-1", detail=ascii(digest)[:200])
    return digest


def say_revision(commit: str | None) -> str:
    """The twelve digits that tell a revision from others, or nothing where there is none."""
    return (commit or "")[:12]


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit, which never changes, and not a branch or tag, which may."""
    return revision is not None and re.fullmatch(_SHA1, revision) is not None


def is_repo(repo: str) -> bool:
    """Whether this is `org/name` in the hub's alphabet. `--` is not: it parts the two in folder names.

    Source: huggingface_hub, `utils/_validators.py`, `validate_repo_id`.
    """
    return (
        re.fullmatch(_REPO, repo) is not None
        and "--" not in repo
        and ".." not in repo
        and not repo.endswith((".", "-"))
    )


def is_inert(path: str, model_format: Format) -> bool:
    """Whether a file is of a kind that only carries data, so that it may be fetched: no code, no pickle.

    `.bin` is a weight file in OpenVINO and a pickle elsewhere; a `.llamafile` is a program, fetched only as one.
    """
    name = path.rsplit("/", 1)[-1].lower()
    if re.fullmatch(_LICENCE, name):
        return True
    if name.endswith(".bin"):
        return model_format == "openvino"
    if name.endswith(".llamafile"):
        return model_format == "llamafile"
    return any(re.fullmatch(_INERT, name[index:]) for index, letter in enumerate(name) if letter == ".")


def is_projector(path: str) -> bool:
    """Whether a GGUF file is a vision or audio projector, which accompanies a model and is none itself."""
    return "mmproj" in path.rsplit("/", 1)[-1].lower()


def is_blob(path: str) -> bool:
    """Whether a file is named by its digest, as Ollama names all of its files."""
    return re.fullmatch(rf"sha256-{_SHA256}", path.rsplit("/", 1)[-1]) is not None


def make_folder_name(text: str) -> str:
    """A folder name for any text: readable, short, safe on every system, and different for different texts."""
    name = re.sub(r"[^a-z0-9._@-]+", "-", text.lower()).strip("-. ")[:60].rstrip("-. ")
    if name and name == text and not re.fullmatch(_RESERVED, name):
        return name
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")
