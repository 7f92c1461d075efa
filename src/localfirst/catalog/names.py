r"""Model names: one grammar, one way to compare them, and what to say when a name is unknown or means several models.

    name[:size][@variant][#backend]           phi-4-mini   gemma-3:4b   phi-4-mini@int4-cpu#onnx
    hf:org/repo[:file][@revision][#backend]   hf:Qwen/Qwen3-4B-GGUF:Qwen3-4B-Q4_K_M.gguf@main
    a path                                    ./model.gguf   ~/models/phi   C:\models\phi
    remote:address[@model]                    remote:https://models.example/v1@qwen3-32b   only to be run

Spelling is forgiven where nothing can be confused: case, `-`, `_`, `.` and spaces, `phi4` for `phi-4`. So are the names
of other tools and of hubs; what they say besides the model is a demand, as `@variant` and `#backend` are:

    gemma3:4b-it-qat                       Ollama: gemma-3-4b@qat-q4_0
    Phi-4-mini-instruct-generic-cpu:5      Foundry Local: phi-4-mini on a CPU; 5 is the version of Foundry's own build
    microsoft/Phi-4-mini-instruct-onnx     a vendor's repository: phi-4-mini#onnx
    mlx-community/gemma-3-4b-it-qat-4bit   another's, which is in the catalog: gemma-3-4b@mlx-qat-4bit

A name that fits several models is never decided here, not by another tool's default either: `gemma3` lists its sizes.
Knows nothing of the disk: whether a path exists is the caller's business.
"""

from __future__ import annotations

import difflib
import re
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from localfirst.errors import AmbiguousNameError, UnknownNameError, UsageError
from localfirst.types import ModelName, format_build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localfirst.types import Model, Variant

# Patterns are texts: `re` compiles one when it is first used, and a command that lists models uses none.
_WORD = r"\w[\w.+-]*"
_CATALOG_NAME = (
    rf"(?P<name>\w[\w .+-]*)(?::(?P<size>{_WORD}))?(?:@(?P<quantization>{_WORD}))?(?:#(?P<backend>{_WORD}))?"
)
_HUB_NAME = (
    r"(?ai)(?P<repo>[a-z0-9][\w.-]*/[a-z0-9][\w.-]*)(?::(?P<file>[^:@#\\/][^:@#\\]*))?(?:@(?P<revision>[a-z0-9][\w./-]*))?"
    rf"(?:#(?P<backend>{_WORD}))?"
)
_HUB_URL = r"(?i)(?:https?://)?(?:huggingface\.co|hf\.co)/(?P<repo>[^/\s]+/[^/\s]+)"
_ORGANISATION = r"(?ai)[a-z0-9][\w.-]*"
_RUNS = r"[^\W\d_]+|\d+"
_HABITS = r"""(?ix)
    (?P<stem>\w.*?)
    (?P<tuning>[-_.:\ ](?:instruct|it|chat))?  # what hubs append to the name of a model that was tuned to answer
    (?:[-_.:\ ](?P<quantization>(?:qat-)?i?q\d(?:_[a-z0-9]{1,3}){0,3}|qat|mxfp4|nvfp4|fp8|b?f16|fp16|awq))?
    (?:[-_.](?P<format>gguf|onnx|mlx))?
    (?:-(?:generic|cuda|trtrtx|openvino|qnn|vitis)-(?P<device>cpu|gpu|npu)(?::\d+)?)?
    (?::latest)?
    """
"""How names end elsewhere: Foundry Local's ids `-<execution provider>-<device>[:version]`, Ollama's tags
`:<size>-<tuning>-<quantization>`, repositories `-<quantization>-<format>`."""
_QUANTIZATIONS = {"qat": "qat-q4_0", "fp16": "f16"}
"""Ollama's `-qat` is the publisher's QAT build, 4 bits wide: https://ollama.com/library/gemma3/tags."""
_FORMAT_BACKENDS = {"gguf": "llama.cpp", "onnx": "onnx", "mlx": "mlx"}
NO_OTHERS: Mapping[str, str] = MappingProxyType({})


def parse_name(text: str) -> ModelName:
    """A model name as typed, taken apart; what it names need not exist.

    Raises:
        UsageError: the text is none of the three forms.
    """
    typed = text.strip()
    if not typed or "\0" in typed:
        raise UsageError("A model name is empty or has a null character in it", hint="List the names: `lf list`")
    if url := re.match(_HUB_URL, typed):
        raise UsageError(f"`{typed}` is an address, not a model name", hint=f"Write hf:{url['repo']}")
    if parse_remote(typed):
        raise UsageError(
            f"`{typed}` is a server, of which nothing is kept here", hint="Only `lf run` and `lf embed` speak to it"
        )
    if "://" in typed:
        raise UsageError(f"`{typed}` is an address, not a model name", hint="Write hf:org/repo, or a file's path")
    if typed[:3].lower() == "hf:":
        return _parse_hub_name(typed)
    if _looks_like_path(typed):
        return ModelName(path=text)
    if match := re.fullmatch(_CATALOG_NAME, typed):
        return ModelName(**match.groupdict())
    raise UsageError(f"`{typed}` is not a model name", hint="Write name[:size][@variant][#backend]")


def parse_remote(text: str) -> tuple[str, str | None] | None:
    """The address of a server and the name of a model there, `None` where none is named; `None` for other texts.

    Behind the address's last `/`, the first `@` begins the model: `remote:http://host/v1@org/name`.
    """
    if not text.strip().lower().startswith("remote:"):
        return None
    head, slashes, rest = text.strip()[len("remote:") :].partition("://")
    host, slash, path = rest.partition("/")
    path, _, model = path.partition("@")
    return f"{head}{slashes}{host}{slash}{path}", model or None


def find_model(models: Iterable[Model], name: ModelName, others: Mapping[str, str] = NO_OTHERS) -> Model:
    """The one model that a name means.

    Its exact name wins; then any forgiving spelling of a name, an alias or `family:size`, with and without the endings
    of other tools; then a family that has a single model; then a repository with builds of a single one. `others` are
    the titles of what is in no catalog, by name: one of them may have been meant where nothing is called so.

    Raises:
        UnknownNameError: none or, as `AmbiguousNameError`, several; the detail lists candidates, the hint says what
            to type.
        UsageError: a path or a hub repository, which are in no catalog.
    """
    if name.name is None:
        raise UsageError(f"`{name.repo or name.path}` is not a catalog name")
    models = tuple(models)
    typed = _join(name)
    for model in models:
        if model.name == typed.lower():
            return model
    owners = {key: model for model in models for key in find_keys(model)}
    spellings = find_spellings(typed)
    for key in spellings:
        if key in owners:
            return owners[key]
    found = [model for model in models if make_key(model.family) in spellings]
    found = found or [model for model in models if _find_builds(model, typed)]
    if len(found) == 1:
        return found[0]
    raise _make_unknown_error(models, name, spellings, others)


def read_demands(name: ModelName, model: Model) -> ModelName:
    """The name with what its ending demands besides the model it was found to mean: a build, a backend, a device.

    What stands behind `@` and `#` goes before. A name of the model's own demands nothing, however it ends.
    """
    typed = _join(name)
    habits = re.fullmatch(_HABITS, typed)
    if habits is None or make_key(typed) in find_keys(model):
        return name
    builds = _find_builds(model, typed)
    quantization = (habits["quantization"] or "").lower() or None
    if len(builds) == 1:
        quantization = builds[0].name
    return name._replace(
        quantization=name.quantization or _QUANTIZATIONS.get(quantization or "", quantization),
        backend=name.backend or _FORMAT_BACKENDS.get((habits["format"] or "").lower()),
        device=(habits["device"] or "").lower() or None,
    )


def parse_published(text: str) -> ModelName | None:
    """A catalog's name behind an organisation, as hubs write it: `google/gemma-3-4b-it`; `None` for other texts."""
    organisation, _, rest = text.strip().partition("/")
    match = re.fullmatch(_CATALOG_NAME, rest)
    if match is None or not re.fullmatch(_ORGANISATION, organisation):
        return None
    return ModelName(organisation=organisation, **match.groupdict())


def find_published(models: Iterable[Model], name: ModelName) -> tuple[Model, ...]:
    """The models that a name behind an organisation can mean: its own, and those with a build in this very repository.

    Another's copy of a model is no model of the catalog, however it is called.
    """
    organisation = (name.organisation or "").lower()
    repo = f"{organisation}/{name.name or ''}".lower()
    return tuple(
        model
        for model in models
        if organisation in map(str.lower, model.organisations)
        or any(repo == one.repo.lower() for one in model.variants)
    )


def find_keys(model: Model) -> set[str]:
    """Every normalised spelling that means this model and no other."""
    texts = [model.name, *model.aliases]
    if model.size:
        texts.append(f"{model.family}:{model.size}")
    return {make_key(text) for text in texts}


def is_called(model: Model, words: Iterable[str]) -> bool:
    """Whether a model has every one of the words in its name, an alias, its title, its family or its vendor.

    A part of a word will do, but not of a number: `4b` is in `gemma-3-4b` and not in `phi-4-14b`.
    """
    texts = (model.name, *model.aliases, model.title, model.family, model.vendor)
    spelled = " ".join(f"-{make_key(text)}" for text in texts)
    keys = map(make_key, words)
    return all((f"-{key}" if key[:1].isdigit() else key) in spelled for key in keys)


def find_spellings(typed: str) -> tuple[str, ...]:
    """The key of a name, that without the endings of other tools, and that without the mark of its tuning too."""
    habits = re.fullmatch(_HABITS, typed)
    stems = (habits["stem"] + (habits["tuning"] or ""), habits["stem"]) if habits else ()
    return tuple(make_key(text) for text in (typed, *stems))


def make_key(text: str) -> str:
    """A spelling without habits: runs of letters and of digits, lower case. `Phi_4 mini`, `phi4-mini` -> `phi-4-mini`.

    Digits never join across a separator: `gemma-3:4b` (`gemma-3-4-b`) is not `gemma-34b` (`gemma-34-b`).
    """
    return "-".join(re.findall(_RUNS, text.casefold()))


def format_name(model: Model, variant: Variant | None = None, backend: str | None = None) -> str:
    """The full form, which `parse_name` takes apart again: `phi-4-mini@int4-cpu#onnx`, `hf:org/repo:int4-cpu@main`."""
    name = format_build(model.name, variant.name) if variant else model.name
    return f"{name}#{backend}" if backend else name


def _looks_like_path(typed: str) -> bool:
    if typed[0] in "./~" or "/" in typed or "\\" in typed:
        return True
    return typed.lower().endswith(".gguf") or (typed[1:] == ":" and typed[0].isalpha())


def _parse_hub_name(typed: str) -> ModelName:
    match = re.fullmatch(_HUB_NAME, typed[3:])
    if match is None or ".." in typed or "//" in typed or not typed.isprintable():
        raise UsageError(f"`{typed}` is not a hub name", hint="Write hf:org/repo[:file][@revision]")
    return ModelName(**match.groupdict())


def _join(name: ModelName) -> str:
    return f"{name.name}:{name.size}" if name.size else name.name or ""


def _find_builds(model: Model, typed: str) -> list[Variant]:
    """The builds in a repository that is called so, whoever's it is."""
    key = make_key(typed)
    return [one for one in model.variants if one.host == "huggingface" and make_key(one.repo.partition("/")[2]) == key]


def _make_unknown_error(
    models: tuple[Model, ...], name: ModelName, spellings: tuple[str, ...], others: Mapping[str, str]
) -> UnknownNameError:
    """The error that fits: the models that the name could mean, or the nearest spellings."""
    typed, start = _join(name), f"{spellings[-1]}-"
    family = [model for model in models if make_key(model.family) in spellings]
    sized = [model for model in models if make_key(model.family) in find_spellings(name.name or "")]
    begins = [model for model in models if any(key.startswith(start) for key in find_keys(model))]
    stored = [model for model in models if _find_builds(model, typed)]
    for found, message in (
        (family, f"`{typed}` is a family of {len(family)} models"),
        (stored, f"`{typed}` is a repository with builds of {len(stored)} models"),
        (begins, f"`{typed}` is not a whole name; {len(begins)} begin so"),
        (sized, f"`{name.name}` has no size `{name.size}`"),
    ):
        if found:
            names = tuple(model.name for model in found)
            return AmbiguousNameError(message, names, detail=_describe(found), hint=_suggest(found))
    near = _find_near(models, typed, others)
    if not near:
        return UnknownNameError(f"No model named `{typed}`", hint="List the names: `lf list`")
    detail = "\n".join(f"{found}  ({title})" for found, title in near.items())
    return UnknownNameError(f"No model named `{typed}`", detail=detail, hint=f"Did you mean {next(iter(near))}?")


def _find_near(models: tuple[Model, ...], typed: str, others: Mapping[str, str]) -> dict[str, str]:
    """At most three models, by name with their titles, that have a name or alias like the one typed, nearest first."""
    known = {text.lower(): (text, title) for text, title in others.items()}
    known |= {text.lower(): (model.name, model.title) for model in models for text in (*model.aliases, model.name)}
    found = dict(known[text] for text in difflib.get_close_matches(typed.lower(), known, n=6))
    return dict(islice(found.items(), 3))


def _describe(models: list[Model]) -> str:
    return "\n".join(f"{model.name}  ({model.title})" for model in models)


def _suggest(models: list[Model]) -> str:
    return f"Name one of them, such as {models[0].name}"
