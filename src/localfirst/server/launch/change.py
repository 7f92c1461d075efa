"""Changes to settings of another program: what is to be there afterwards, and the text that says so. Pure.

A text is only ever added to, or changed where the setting itself stands; and what comes of it is read again: everything
else has to be as it was, or nothing is changed at all. So comments stay, and what cannot be changed without harm is
refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.server.launch import json_text, toml_text, yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

FORMS: Mapping[str, ModuleType] = {"json": json_text, "toml": toml_text, "yaml": yaml_text}
"""By name, a module with `parse`, `put` and `write`."""


class Put(NamedTuple):
    """A value that is to be at a path, whatever is there now."""

    path: tuple[str, ...]
    """Keys of tables within each other; of a list, the path that leads to it."""
    value: Any
    only_new: bool = False
    """Only in a text that says nothing yet."""
    by: str | None = None
    """The value is an item of a list at the path: the one that has the same under this key, or else a further one."""


class RefusedTextError(Exception):
    """A text that cannot be changed without disturbing something; why."""


def apply(form: str, text: str, puts: Iterable[Put]) -> str:
    """The text with all of it there; the same text where it is already.

    Raises:
        RefusedTextError: the text is not of this form, or cannot be changed so that all else stays.
    """
    module = FORMS[form]
    said = _parse(module, text)
    comments = module.find_comments(text)
    kept = [put for put in puts if not (put.only_new and said)]
    for put in (one for many in kept for one in _split(form, said, many)):
        wanted = _place(said, put)
        if wanted == said:
            continue
        try:
            text = module.put(text, put.path, put.value, put.by)
        except ValueError as error:
            raise RefusedTextError(str(error)) from error
        if not _says(module, text, wanted, comments):
            raise RefusedTextError("a value or a comment stands where it could not be kept")
        said = wanted
    return text


def show(form: str, puts: Iterable[Put]) -> str:
    """All of it as a text of its own, to be pasted by hand."""
    whole: Any = None
    for put in puts:
        whole = _place(whole, put)
    text: str = FORMS[form].write(whole)
    return text


def _says(module: ModuleType, text: str, wanted: Any, comments: list[str]) -> bool:
    """Whether a text says just that, and has these comments."""
    try:
        return bool(module.parse(text) == wanted and module.find_comments(text) == comments)
    except ValueError:
        return False


def _split(form: str, said: Any, put: Put) -> Iterator[Put]:
    """What of it is put by itself, so that what somebody has added to a table or an item of ours stays."""
    if put.by is not None:
        found = _find(said, put.path)
        items = found if isinstance(found, list) else ()
        old = next((one for one in items if isinstance(one, dict) and one.get(put.by) == put.value[put.by]), {})
        yield put._replace(value={**old, **put.value})
    elif form == "toml":
        table = _find(said, put.path) or {}
        if not isinstance(table, dict):
            raise RefusedTextError(f"`{'.'.join(put.path)}` is no table")
        yield put._replace(value={**table, **put.value})
    elif isinstance(put.value, dict) and (put.value or isinstance(_find(said, put.path), dict)):
        for key, value in put.value.items():
            yield from _split(form, said, Put((*put.path, key), value))
    else:
        yield put


def _find(said: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        said = said.get(key) if isinstance(said, dict) else None
    return said


def _parse(module: ModuleType, text: str) -> Any:
    try:
        return module.parse(text)
    except ValueError as error:
        raise RefusedTextError(f"it cannot be read: {' '.join(str(error).split())}") from error


def _place(whole: Any, put: Put) -> Any:
    """The value with `put` in it; what was there is not changed."""
    if not put.path:
        return put.value if put.by is None else _place_item(whole, put.value, put.by)
    if whole is not None and not isinstance(whole, dict):
        raise RefusedTextError(f"`{put.path[0]}` cannot be put into what is no table")
    head, *rest = put.path
    inner = (whole or {}).get(head)
    return {**(whole or {}), head: _place(inner, put._replace(path=tuple(rest)))}


def _place_item(items: Any, item: Mapping[str, Any], by: str) -> list[Any]:
    if items is not None and not isinstance(items, list):
        raise RefusedTextError("there is something else where a list belongs")
    found = items or []
    places = [index for index, one in enumerate(found) if isinstance(one, dict) and one.get(by) == item[by]]
    if not places:
        return [*found, item]
    return [item if index == places[0] else one for index, one in enumerate(found)]
