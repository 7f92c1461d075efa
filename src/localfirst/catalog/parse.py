"""`catalog.yaml` to models, strictly: a mistake is reported with its line, its model and its key.

What the keys mean is explained at the top of `catalog.yaml`. Pure: reads text, not files.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.catalog import keys, schema
from localfirst.catalog.document import find_line, find_owner, load_document
from localfirst.catalog.names import find_keys, find_spellings, make_key, parse_name
from localfirst.catalog.schema import Path, ProblemError, gather, read_mapping, read_value
from localfirst.errors import CatalogError, UsageError
from localfirst.types import (
    Architecture,
    KvGroup,
    Model,
    ModelFile,
    RecurrentGroup,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NOTHING_TAKEN: Mapping[str, str] = MappingProxyType({})


class _Tables(NamedTuple):
    """What the entries refer to by key."""

    sources: dict[str, str]
    licenses: dict[str, str]
    terms: frozenset[str]
    vendors: dict[str, tuple[str, ...]]


def parse_catalog(text: str, name: str = "catalog.yaml") -> tuple[Model, ...]:
    """The models of a catalog, in its order; `name` is the file's in messages.

    Raises:
        CatalogError: not YAML, or a key is unknown, missing, doubled or wrong; the message names line, model and key of
            the first mistake, the detail those of the others.
    """
    models, mistakes = read_catalog(text, name)
    if mistakes:
        first, *others = mistakes
        raise CatalogError(first, detail="\n".join(others) or None)
    return models


def read_catalog(
    text: str, name: str, taken: Mapping[str, str] = NOTHING_TAKEN, organisations: Mapping[str, str] = NOTHING_TAKEN
) -> tuple[tuple[Model, ...], tuple[str, ...]]:
    """The models without a mistake, and the mistakes of each other one.

    Whether a model's names are free is only looked at where the rest of it is right.

    `taken` are the keys of names that catalogs before this one have given away, each with its model's name, and
    `organisations` is the text of each vendor's organisations there: an added catalog cannot make others the vendor's,
    nor name what is built in.

    Raises:
        CatalogError: not YAML, or no catalog at all: the tables that models refer to are wrong.
    """
    node, document = load_document(text, name)

    def say(problem: ProblemError) -> str:
        return f"{name} line {find_line(node, problem.path)}: {find_owner(document, problem.path)}{problem.message}"

    try:
        values = read_mapping(document, (), keys.DOCUMENT)
        sources, licenses, vendors = gather(
            partial(_read_table, values[name], name, check)
            for name, check in (
                ("sources", schema.check_text),
                ("licenses", schema.check_text),
                ("vendors", schema.check_texts),
            )
        )
        tables = _Tables(sources, licenses, frozenset(values["terms"]), vendors)
        for license_ in values["terms"]:
            _check_known((license_,), ("license",), tables.licenses)
        _check_vendors(tables.vendors, organisations)
    except ProblemError as problem:
        first, *others = map(say, problem.list_all())
        raise CatalogError(first, detail="\n".join(others) or None) from None
    models: list[Model] = []
    mistakes: list[str] = []
    owners = dict(taken)
    for index, item in enumerate(values["models"]):
        path = ("models", index)
        try:
            model = _read_model(item, path, tables)
            if organisations:
                _check_hosts(model, path)
            owners |= dict.fromkeys(_check_names(model, path, owners, taken), model.name)
        except ProblemError as problem:
            mistakes += map(say, sorted(problem.list_all(), key=lambda one: find_line(node, one.path)))
        else:
            models.append(model)
    return tuple(models), tuple(mistakes)


def _read_table(value: object, name: str, check: Callable[[Any], Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProblemError((name,), f"`{name}` must be keys and values, found {schema.show(value)}")
    items = gather(partial(read_value, item, (name, str(key)), check) for key, item in value.items())
    return dict(zip(map(str, value), items, strict=True))


def _check_vendors(vendors: Mapping[str, Sequence[str]], known: Mapping[str, str]) -> None:
    folded = {vendor.lower(): organisations for vendor, organisations in known.items()}
    for vendor, organisations in vendors.items():
        there = folded.get(vendor.lower())
        if there is not None and not set(organisations) <= set(there.split()):
            raise ProblemError(("vendors", vendor), f"the organisations of `{vendor}` are `{there}` and no others")


def _check_hosts(model: Model, path: Path) -> None:
    for index, variant in enumerate(model.variants):
        if variant.host == "builtin":
            raise ProblemError((*path, "variants", index, "host"), "`host` cannot be builtin in an added catalog")


def _check_names(model: Model, path: Path, owners: Mapping[str, str], taken: Mapping[str, str]) -> frozenset[str]:
    """The keys of a model's names: no spelling may mean two models, and every name must be one that can be typed.

    In an added catalog, no name may be one that a model before it has with the endings of other tools.
    """
    names: list[tuple[Path, str]] = [((*path, "name"), model.name)]
    names += [((*path, "aliases", index), alias) for index, alias in enumerate(model.aliases)]
    if model.size:
        names.append(((*path, "size"), f"{model.family}:{model.size}"))
    for place, text in names:
        if not _can_be_typed(text):
            raise ProblemError(place, f"`{text}` cannot be typed as a model name")
        known = owners.get(make_key(text)) or next(filter(None, map(taken.get, find_spellings(text))), None)
        if known:
            raise ProblemError(place, f"the name `{text}` already means `{known}`")
    return frozenset(find_keys(model))


def _can_be_typed(text: str) -> bool:
    try:
        return parse_name(text).name is not None and bool(make_key(text))
    except UsageError:
        return False


def _read_model(item: object, path: Path, tables: _Tables) -> Model:
    """A model; what is wrong in one part of it keeps no mistake of another from being told.

    Raises:
        ProblemError: every mistake.
    """
    parts = item if isinstance(item, dict) else {}
    vendor, builds = str(parts.get("vendor")), parts.get("variants")
    values, architecture, draft, *variants = gather(
        (
            partial(_read_model_keys, item, path, tables),
            partial(_read_architecture, parts.get("architecture"), (*path, "architecture"), tables),
            partial(_read_draft, parts.get("draft"), (*path, "draft"), tables),
            *(
                partial(_read_variant, one, (*path, "variants", index), tables, tables.vendors.get(vendor))
                for index, one in enumerate(builds if isinstance(builds, list) else ())
            ),
        )
    )
    variants = [_tell_bits(variant, values["parameters"]) for variant in variants]
    _check_distinct([variant.name for variant in variants], (*path, "variants"), "name")
    return Model(
        name=values["name"],
        title=values["title"],
        vendor=values["vendor"],
        parameters=values["parameters"],
        active_parameters=values["active_parameters"],
        task=values["task"],
        license=values["license"],
        license_url=tables.licenses[values["license"]],
        terms=values["license"] in tables.terms,
        family=values["family"],
        size=values["size"],
        aliases=values["aliases"],
        architecture=architecture,
        variants=tuple(variants),
        temperature=values["temperature"],
        organisations=tables.vendors[values["vendor"]],
        draft=draft,
    )


def _read_model_keys(item: object, path: Path, tables: _Tables) -> dict[str, Any]:
    values, *_ = gather(
        (
            partial(read_mapping, item, path, keys.MODEL),
            *_check_references(item, path, {"vendor": tables.vendors, "license": tables.licenses}),
        )
    )
    return values  # type: ignore[no-any-return]


def _check_references(
    item: object, path: Path, tables: Mapping[str, Mapping[str, object]]
) -> Iterator[Callable[[], None]]:
    """Checks for the keys of `tables` that an item names by a text, which can be looked at whatever else is wrong."""
    for key, table in tables.items():
        named = item.get(key) if isinstance(item, dict) else None
        if isinstance(named, str):
            yield partial(_check_known, (named,), (*path, key), table)


def _read_draft(item: object, path: Path, tables: _Tables) -> str | None:
    if item is None:
        return None
    values = read_mapping(item, path, keys.DRAFT)
    _check_known(values["source"], (*path, "source"), tables.sources)
    model: str = values["model"]
    if not _can_be_typed(model):
        raise ProblemError((*path, "model"), f"`{model}` cannot be typed as a model name")
    return model


def _read_architecture(item: object, path: Path, tables: _Tables) -> Architecture:
    if item is None:
        return Architecture()
    values = read_mapping(item, path, keys.ARCHITECTURE)
    lists = (("kv_groups", keys.KV_GROUP), ("recurrent_groups", keys.RECURRENT_GROUP))
    _, *read = gather(
        (
            partial(_check_known, values["source"], (*path, "source"), tables.sources),
            *(
                partial(read_mapping, group, (*path, name, index), known)
                for name, known in lists
                for index, group in enumerate(values[name])
            ),
        )
    )
    groups, recurrent = read[: len(values["kv_groups"])], read[len(values["kv_groups"]) :]
    return Architecture(
        layers=values["layers"],
        hidden_size=values["hidden_size"],
        heads=values["heads"],
        vocab_size=values["vocab_size"],
        context_tokens=values["context"],
        kv_groups=tuple(
            KvGroup(group["layers"], group["kv_heads"], group["head_dim"], group["window"]) for group in groups
        ),
        recurrent_groups=tuple(RecurrentGroup(**group) for group in recurrent),
        tied=values["tied"],
    )


def _read_variant(item: object, path: Path, tables: _Tables, organisations: tuple[str, ...] | None) -> Variant:
    """A build; `organisations` are its vendor's, `None` where the vendor is one that is not known."""
    listed = item.get("files") if isinstance(item, dict) else None
    values, *read = gather(
        (
            partial(_read_variant_keys, item, path, tables, organisations),
            *(
                partial(_read_file, file, (*path, "files", index))
                for index, file in enumerate(listed if isinstance(listed, list) else ())
            ),
        )
    )
    files = tuple(read)
    _check_distinct([file.path for file in files], (*path, "files"), "path")
    if values["recipe"] and [bool(file.sha256) for file in files] != [True]:
        raise ProblemError((*path, "recipe"), "`recipe` is for a build of one file with its `sha256`")
    size_bytes = _find_size(values["size"], files, path)
    return Variant(
        name=values["name"],
        format=values["format"],
        quantization=values["quantization"],
        origin=values["origin"],
        tier=values["tier"],
        host=values["host"],
        repo=values["repo"],
        revision=values["revision"],
        files=files,
        devices=values["devices"],
        size_bytes=size_bytes,
        gated=values["gated"],
        confidence=values["confidence"],
        source="; ".join(tables.sources[key] for key in values["source"]),
        context_tokens=values["context"],
        note=values["note"],
        recipe=values["recipe"],
    )


def _read_variant_keys(
    item: object, path: Path, tables: _Tables, organisations: tuple[str, ...] | None
) -> dict[str, Any]:
    values, *_ = gather(
        (
            partial(read_mapping, item, path, keys.VARIANT),
            *_check_references(item, path, {"source": tables.sources}),
        )
    )
    _check_known(values["source"], (*path, "source"), tables.sources)
    if values["host"] == "huggingface" and organisations is not None:
        _check_repo(values, path, organisations)
    return values  # type: ignore[no-any-return]


def _tell_bits(variant: Variant, parameters: int | None) -> Variant:
    size = variant.size_bytes
    return variant._replace(bits_per_weight=round(8 * size / parameters, 2) if size and parameters else None)


def _read_file(item: object, path: Path) -> ModelFile:
    values = read_mapping(item, path, keys.MODEL_FILE)
    if set(values["path"]) & set("*?[") and (values["bytes"] or values["sha256"]):
        raise ProblemError((*path, "path"), "a pattern is no single file: it has no `bytes` and no `sha256`")
    return ModelFile(path=values["path"], size_bytes=values["bytes"], sha256=values["sha256"])


def _find_size(stated: int | None, files: tuple[ModelFile, ...], path: Path) -> int | None:
    """The sum of the files where all are known, else what the publisher states; both only if they agree."""
    sizes = [file.size_bytes for file in files if file.size_bytes is not None]
    if not files or len(sizes) < len(files):
        return stated
    if stated not in (None, sum(sizes)):
        raise ProblemError((*path, "size"), f"`size` is {stated}, but the files are {sum(sizes)} bytes together")
    return sum(sizes)


def _check_repo(values: dict[str, Any], path: Path, organisations: tuple[str, ...]) -> None:
    """A repository on a hub is `org/name`, and only the vendor's own organisations are of the tier `vendor`."""
    organisation, _, name = values["repo"].partition("/")
    if not organisation or not name or "/" in name:
        raise ProblemError((*path, "repo"), f"`repo` must be org/name, found {schema.show(values['repo'])}")
    if not values["files"]:
        raise ProblemError(path, "`files` is missing")
    if (values["tier"] == "vendor") != (organisation in organisations):
        whose = "one" if organisation in organisations else "none"
        message = f"`tier` cannot be {values['tier']}: `{organisation}` is {whose} of the vendor's organisations"
        raise ProblemError((*path, "tier"), message)


def _check_known(keys: Sequence[str], path: Path, table: Mapping[str, object]) -> None:
    """`source: jan` needs a `jan` in the table `sources`, and so on."""
    for key in keys:
        if key not in table:
            near = schema.suggest(key, table)
            raise ProblemError(path, f"`{path[-1]}` must be a key of the table `{path[-1]}s`, found `{key}`{near}")


def _check_distinct(texts: Sequence[str], path: Path, key: str) -> None:
    folded = [text.lower() for text in texts]
    for index, text in enumerate(folded):
        if text in folded[:index]:
            raise ProblemError((*path, index, key), f"`{key}` is there twice: `{texts[index]}`")
