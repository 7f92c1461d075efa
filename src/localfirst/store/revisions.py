"""Which of a build's revisions on this disk is used: the current one, and the order in which they were it.

What was chosen is kept in `models/revisions.json`, which is changed under a lock and replaced as a whole. A store
without it has one rule: the revision that was installed last is the current one. So has a build whose chosen revision
is no longer there. A damaged file is read as far as it can be, and set aside before the next change.

Knows nothing of manifests: the models that are on this disk are handed in.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst import paths
from localfirst.errors import StoreError, UnknownNameError, UsageError
from localfirst.store.claim import claim_record
from localfirst.store.disk import explained, write_atomically
from localfirst.store.keepers import say_keeper
from localfirst.store.names import is_commit, say_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from localfirst.types import InstalledModel, Variant

SCHEMA = "lf.revisions/1"


class History(NamedTuple):
    """The revisions of one build that are on this disk, in the order in which they were current; at least one."""

    models: tuple[InstalledModel, ...]
    current: InstalledModel
    pinned: bool = False
    """The current one is held: nothing but its user moves it, and it is never cleaned away."""

    @property
    def previous(self) -> InstalledModel | None:
        """The one that was current before."""
        index = self.models.index(self.current)
        return self.models[index - 1] if index else None


class Choice(NamedTuple):
    """What the file says of one build. A revision is `repository@commit`: a build may move to another repository."""

    order: tuple[str, ...] = ()
    current: str | None = None
    pinned: bool = False


Key = tuple[str, str]
"""A build: the model's name and the variant's."""


def find_file() -> Path:
    """Where the choices are kept."""
    return paths.models_dir() / "revisions.json"


def say_other(installed: InstalledModel, variant: Variant) -> str | None:
    """That the catalog names another revision than the one that is used; `None` where it does not."""
    newest, here = variant.revision, installed.revision
    if newest is None or here is None or not is_commit(newest) or newest == here:
        return None
    return f"uses {say_revision(here)}; the catalog names {say_revision(newest)} now (lf model update)"


def find_histories(models: Iterable[InstalledModel]) -> tuple[History, ...]:
    """The revisions of each build among `models`, builds in the order in which they come."""
    builds: dict[Key, list[InstalledModel]] = {}
    for model in models:
        builds.setdefault(_find_key(model), []).append(model)
    choices = _read()[0] if builds else {}
    return tuple(arrange(found, choices.get(key, Choice())) for key, found in builds.items())


def keep_current(models: Iterable[InstalledModel]) -> tuple[InstalledModel, ...]:
    """Of each build among `models` its current revision."""
    return tuple(history.current for history in find_histories(models))


def arrange(models: Sequence[InstalledModel], choice: Choice) -> History:
    """The history of one build from what is there and what was chosen. Those that nobody chose come first."""
    by_age = sorted(models, key=lambda model: (model.created, _name(model)))
    ranks = {name: rank for rank, name in enumerate(choice.order)}
    ordered = tuple(sorted(by_age, key=lambda model: ranks.get(_name(model), -1)))
    chosen = next((model for model in ordered if _name(model) == choice.current), None)
    if chosen is None:
        newest = by_age[-1]
        return History((*(model for model in ordered if model != newest), newest), newest)
    return History(ordered, chosen, choice.pinned)


def advance(history: History, target: InstalledModel) -> History:
    """The history with `target` as the step after the current one, and the last; a pin holds the current one."""
    if target == history.current:
        return history
    others = tuple(model for model in history.models if model not in (target, history.current))
    if history.pinned:
        return history._replace(models=(*others, target, history.current))
    return History((*others, history.current, target), target)


def make_current(model: InstalledModel, installed: Iterable[InstalledModel]) -> History:
    """Use this revision from now on, unless another one is pinned.

    Args:
        model: an installed model.
        installed: all that is on this disk.

    Raises:
        StoreError: the choice cannot be kept.
    """
    return _change(model, installed, lambda history: advance(history, model))


def roll_back(
    model: InstalledModel, installed: Iterable[InstalledModel], revision: str | None = None
) -> tuple[History, History]:
    """Use the revision that was current before, or the one that `revision` begins; the history before and after.

    Raises:
        UnknownNameError: there is no such revision on this disk, or several begin so.
        UsageError: the current one is pinned.
        StoreError: the choice cannot be kept.
    """
    steps: list[History] = []

    def step_back(history: History) -> History:
        if history.pinned:
            raise UsageError(
                f"`{model.name}` is pinned to revision {say_revision(history.current.revision)}",
                hint=f"Let it move first: `lf model unpin {model.name}`",
            )
        steps.append(history)
        return history._replace(current=find_target(history, revision))

    after = _change(model, installed, step_back)
    return steps[0], after


def find_target(history: History, revision: str | None = None) -> InstalledModel:
    """The revision that was current before, or the one that `revision` begins.

    Raises:
        UnknownNameError: there is none, or several begin so.
    """
    current = history.current
    if revision is None:
        if (previous := history.previous) is None:
            raise UnknownNameError(
                f"`{current.full_name}` has no earlier revision on this disk",
                detail=_list_revisions(history),
                hint=_say_way_on(history),
            )
        return previous
    found = [model for model in history.models if (model.revision or "").startswith(revision.lower())]
    if len(found) != 1 or not revision:
        problem = f"several revisions that begin with `{revision}`" if found else f"no revision `{revision}`"
        raise UnknownNameError(f"`{current.full_name}` has {problem} on this disk", detail=_list_revisions(history))
    return found[0]


def _say_way_on(history: History) -> str | None:
    current = history.current
    if current.keeper is not None:
        return f"Its files are kept by {say_keeper(current.keeper)}, and lf has no revisions of them"
    return f"For a later one: `lf model update {current.name}`" if len(history.models) > 1 else None


def _list_revisions(history: History) -> str | None:
    lines = [
        f"{model.revision}{'  current' if model == history.current else ''}"
        for model in reversed(history.models)
        if model.revision is not None
    ]
    return "\n".join(lines) or None


def set_pin(model: InstalledModel, installed: Iterable[InstalledModel], *, pinned: bool) -> History:
    """Hold the current revision of a build, or let it move again.

    Raises:
        StoreError: the choice cannot be kept.
    """
    return _change(model, installed, lambda history: history._replace(pinned=pinned))


def forget(model: InstalledModel) -> None:
    """Forget what was chosen for a build that has been removed.

    Raises:
        StoreError: the file cannot be written.
    """
    if _find_key(model) in _read()[0]:
        _edit(lambda choices: choices.pop(_find_key(model), None))


def forget_missing(installed: Iterable[InstalledModel]) -> None:
    """Forget what was chosen for builds of which nothing is on this disk any more: a killed removal leaves that.

    Raises:
        StoreError: the file cannot be written.
    """
    present = {_find_key(model) for model in installed}

    def keep_present(choices: dict[Key, Choice]) -> None:
        for key in choices.keys() - present:
            del choices[key]

    if _read()[0].keys() - present:
        _edit(keep_present)


def find_damage() -> StoreError | None:
    """What is wrong with the file of choices, if anything is."""
    damage = _read()[1]
    if damage is None:
        return None
    return StoreError(
        "The record of which revisions are used is damaged",
        detail=f"{find_file()}\n{damage}",
        hint="Where it says nothing, the revision installed last is used; see `lf model info MODEL`.",
    )


def _find_key(model: InstalledModel) -> Key:
    return model.name, model.variant


def _name(model: InstalledModel) -> str:
    return f"{model.repo}@{model.revision}"


def _change(
    model: InstalledModel, installed: Iterable[InstalledModel], change: Callable[[History], History]
) -> History:
    """Change one build's history as it is now, whatever another process has made of it meanwhile."""
    key = _find_key(model)
    models = [one for one in installed if _find_key(one) == key] or [model]

    def decide(choices: dict[Key, Choice]) -> tuple[History, Choice]:
        history = change(arrange(models, choices.get(key, Choice())))
        return history, Choice(tuple(map(_name, history.models)), _name(history.current), history.pinned)

    choices = _read()[0]
    history, choice = decide(choices)
    if choice == choices.get(key) or (key not in choices and len(models) == 1 and not history.pinned):
        return history  # a single one needs no choice
    found: list[History] = []

    def put(choices: dict[Key, Choice]) -> None:
        history, choices[key] = decide(choices)
        found.append(history)

    _edit(put)
    return found[0]


def _edit(change: Callable[[dict[Key, Choice]], object]) -> None:
    with claim_record("revisions"):
        path = find_file()
        choices, damage = _read()
        change(choices)
        with explained(path):
            if damage is not None and path.exists():
                path.replace(_find_free(path))
            write_atomically(path, _format(choices))


def _find_free(path: Path) -> Path:
    """A name beside `path` for a damaged one."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}.json")).exists():
        number += 1
    return aside


def _format(choices: dict[Key, Choice]) -> str:
    models: dict[str, dict[str, object]] = {}
    for (name, variant), choice in sorted(choices.items()):
        models.setdefault(name, {})[variant] = choice._asdict()
    return json.dumps({"schema": SCHEMA, "models": models}, indent=1) + "\n"


def _read() -> tuple[dict[Key, Choice], str | None]:
    """What was chosen, and what is wrong with the file."""
    try:
        return parse_choices(find_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError) as error:  # not to be read, or not UTF-8
        return {}, str(error)


def parse_choices(text: str) -> tuple[dict[Key, Choice], str | None]:
    """All choices of a text that can be used, and what is wrong with the others, or with the text."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, str(error)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not isinstance(record.get("models"), dict):
        return {}, f"this is no {SCHEMA}"
    choices: dict[Key, Choice] = {}
    damage = None
    for name, variants in record["models"].items():
        if not isinstance(variants, dict):
            damage = f"{name!a} has no variants"
            continue
        for variant, value in variants.items():
            if (choice := _parse_choice(value)) is None:
                damage = f"{name!a}, {variant!a}: no choice of a revision"
            else:
                choices[name, variant] = choice
    return choices, damage


def _parse_choice(value: Any) -> Choice | None:
    if not isinstance(value, dict):
        return None
    order, current, pinned = value.get("order"), value.get("current"), value.get("pinned")
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        return None
    if not isinstance(current, str) or not isinstance(pinned, bool):
        return None
    return Choice(tuple(order), current, pinned)
