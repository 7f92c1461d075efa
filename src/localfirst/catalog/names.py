r"""Model names: one grammar, one way to compare them, and what to say when a name is unknown or means several models.

    name[:size][@variant][#backend]           phi-4-mini   gemma-3:4b   phi-4-mini@int4-cpu#onnx
    hf:org/repo[:file][@revision][#backend]   hf:Qwen/Qwen3-4B-GGUF:Qwen3-4B-Q4_K_M.gguf@main
    a path                                    ./model.gguf   ~/models/phi   C:\models\phi

Spelling is forgiven where nothing can be confused: case, `-`, `_`, `.` and spaces, `phi4` for `phi-4`, and the
`instruct`, `it` or `chat` that hubs add. Knows nothing of the disk: whether a path exists is the caller's business.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from localfirst.errors import UnknownNameError, UsageError
from localfirst.types import ModelName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localfirst.types import Model, Variant

_WORD = r"\w[\w.+-]*"
_CATALOG_NAME = re.compile(
    rf"(?P<name>\w[\w .+-]*)(?::(?P<size>{_WORD}))?(?:@(?P<quantization>{_WORD}))?(?:#(?P<backend>{_WORD}))?"
)
_HUB_NAME = re.compile(
    r"(?P<repo>[a-z0-9][\w.-]*/[a-z0-9][\w.-]*)(?::(?P<file>[^:@#\\/][^:@#\\]*))?(?:@(?P<revision>[a-z0-9][\w./-]*))?"
    rf"(?:#(?P<backend>{_WORD}))?",
    re.ASCII | re.IGNORECASE,
)
_HUB_URL = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/(?P<repo>[^/\s]+/[^/\s]+)", re.IGNORECASE)
_RUNS = re.compile(r"[^\W\d_]+|\d+")
_SUFFIXES = ("instruct", "it", "chat")
"""What hubs append to the name of a model that was tuned to answer."""


def parse_name(text: str) -> ModelName:
    """A model name as typed, taken apart; what it names need not exist.

    Raises:
        UsageError: the text is none of the three forms.
    """
    typed = text.strip()
    if not typed or "\0" in typed:
        raise UsageError("A model name is empty or has a null character in it", hint="List the names: `lf list`")
    if url := _HUB_URL.match(typed):
        raise UsageError(f"`{typed}` is an address, not a model name", hint=f"Write hf:{url['repo']}")
    if "://" in typed:
        raise UsageError(f"`{typed}` is an address, not a model name", hint="Write hf:org/repo, or a file's path")
    if typed[:3].lower() == "hf:":
        return _parse_hub_name(typed)
    if _looks_like_path(typed):
        return ModelName(path=text)
    if match := _CATALOG_NAME.fullmatch(typed):
        return ModelName(**match.groupdict())
    raise UsageError(f"`{typed}` is not a model name", hint="Write name[:size][@variant][#backend]")


def find_model(models: Iterable[Model], name: ModelName) -> Model:
    """The one model that a name means.

    Its exact name wins; then any forgiving spelling of a name, an alias, `family:size` or a Foundry id; then a family
    that has a single model.

    Raises:
        UnknownNameError: none or several; the detail lists candidates, the hint says what to type.
        UsageError: a path or a hub repository, which are in no catalog.
    """
    if name.name is None:
        raise UsageError(f"`{name.repo or name.path}` is not a catalog name")
    models = tuple(models)
    typed = f"{name.name}:{name.size}" if name.size else name.name
    for model in models:
        if model.name == typed.lower():
            return model
    owners = {key: model for model in models for key in find_keys(model)}
    for key in _find_spellings(typed):
        if key in owners:
            return owners[key]
    family = [model for model in models if make_key(model.family) in _find_spellings(name.name)]
    if len(family) == 1 and not name.size:
        return family[0]
    raise _make_unknown_error(models, family, name, typed)


def find_keys(model: Model) -> set[str]:
    """Every normalised spelling that means this model and no other."""
    texts = [model.name, *model.aliases]
    if model.size:
        texts.append(f"{model.family}:{model.size}")
    for variant in model.variants:
        if variant.host == "foundry":
            texts += (variant.repo, variant.repo.partition(":")[0])
    return {make_key(text) for text in texts}


def make_key(text: str) -> str:
    """A spelling without habits: runs of letters and of digits, lower case. `Phi_4 mini`, `phi4-mini` -> `phi-4-mini`.

    Digits never join across a separator: `gemma-3:4b` (`gemma-3-4-b`) is not `gemma-34b` (`gemma-34-b`).
    """
    return "-".join(_RUNS.findall(text.casefold()))


def format_name(model: Model, variant: Variant | None = None, backend: str | None = None) -> str:
    """The full form, which `parse_name` takes apart again: `phi-4-mini@int4-cpu#onnx`, `hf:org/repo:int4-cpu@main`."""
    name = model.name
    if variant and name.startswith("hf:"):
        repo, at, revision = name.partition("@")
        name = f"{repo}:{variant.name}{at}{revision}"
    elif variant:
        name = f"{name}@{variant.name}"
    return f"{name}#{backend}" if backend else name


def _looks_like_path(typed: str) -> bool:
    if typed[0] in "./~" or "/" in typed or "\\" in typed:
        return True
    return typed.lower().endswith(".gguf") or (typed[1:] == ":" and typed[0].isalpha())


def _parse_hub_name(typed: str) -> ModelName:
    match = _HUB_NAME.fullmatch(typed[3:])
    if match is None or ".." in typed or "//" in typed or not typed.isprintable():
        raise UsageError(f"`{typed}` is not a hub name", hint="Write hf:org/repo[:file][@revision]")
    return ModelName(**match.groupdict())


def _find_spellings(typed: str) -> tuple[str, ...]:
    """The key of a name, and the key without the words that hubs append."""
    words = make_key(typed).split("-")
    kept = list(words)
    while len(kept) > 1 and kept[-1] in _SUFFIXES:
        kept.pop()
    return ("-".join(words), "-".join(kept))


def _make_unknown_error(
    models: tuple[Model, ...], family: list[Model], name: ModelName, typed: str
) -> UnknownNameError:
    """The error that fits: a family's sizes, the names that begin so, or the nearest spellings."""
    if family:
        what = f"has no size `{name.size}`" if name.size else f"is a family of {len(family)} models"
        return UnknownNameError(f"`{name.name}` {what}", detail=_describe(family), hint=_suggest(family))
    key = make_key(typed)
    begins = [model for model in models if key and make_key(model.name).startswith(f"{key}-")]
    if begins:
        message = f"`{typed}` is not a whole name; {len(begins)} begin so"
        return UnknownNameError(message, detail=_describe(begins), hint=_suggest(begins))
    near = _find_near(models, typed)
    if not near:
        return UnknownNameError(f"No model named `{typed}`", hint="List the names: `lf list`")
    return UnknownNameError(f"No model named `{typed}`", detail=_describe(near), hint=f"Did you mean {near[0].name}?")


def _find_near(models: tuple[Model, ...], typed: str) -> list[Model]:
    """At most three models with a name or alias like the one typed, nearest first."""
    names = {text.lower(): model for model in models for text in (*model.aliases, model.name)}
    near = difflib.get_close_matches(typed.lower(), names, n=6)
    return list({names[text].name: names[text] for text in near}.values())[:3]


def _describe(models: list[Model]) -> str:
    return "\n".join(f"{model.name}  ({model.title})" for model in models)


def _suggest(models: list[Model]) -> str:
    return f"Name one of them, such as {models[0].name}"
