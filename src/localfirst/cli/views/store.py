"""The store as text and as JSON: what it takes, what was removed, where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.cli.screen import block, line, wrap
from localfirst.cli.views.table import Column, fit, format_row
from localfirst.store.keepers import say_keeper
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from localfirst.cli.screen import Screen
    from localfirst.errors import LfError
    from localfirst.services.files import Removal
    from localfirst.services.tidy import Collected
    from localfirst.services.usage import Location, SharedStore, Usage
    from localfirst.store.upkeep.gc import Garbage
    from localfirst.store.upkeep.move import Moved
    from localfirst.store.upkeep.usage import Copy, Duplicate, Share

    Json = dict[str, Any]

KINDS = {
    "model": "Models",
    "revision": "Unused revisions",
    "partial": "Partial downloads",
    "leftover": "Leftovers",
    "damaged": "Damaged models",
    "newer": "Models of a newer lf",
    "unknown": "Files of others",
}
GARBAGE = {
    "partial": "partial download",
    "revision": "unused revision",
    "leftover": "leftover",
    "runtime": "old runtime",
    "move": "unfinished move",
}
DECIDED = {
    "move": "`lf store move`, noted in {data}",
    "LF_HOME": "LF_HOME",
    "default": "this system's place for such data; `lf store move DIR` chooses another",
}
MANY = 10
"""So many files that are there twice are shown; JSON has all."""


def count(number: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def render_usage(usage: Usage, screen: Screen) -> list[str]:
    """What takes how much space."""
    places = {"Runtimes": usage.runtimes, "Caches": usage.caches}
    shares = {
        **{title: usage.kinds[kind] for kind, title in KINDS.items() if kind in usage.kinds},
        **{title: place.share for title, place in places.items() if place not in usage.elsewhere},
    }
    rows = [_share_row(title, share) for title, share in shares.items() if share.size_bytes or share.number]
    rows.append({"what": "In all", "size": format_bytes(usage.total_bytes)})
    widths = fit([Column("what"), Column("number", right=True), Column("size", right=True)], rows, screen.width)
    lines = [
        *wrap(_say_disk(usage.models, usage.free_bytes, usage.disk_bytes), screen.width),
        *(f"  {format_row(widths, row)}" for row in rows),
    ]
    for title, place in places.items():
        if place in usage.elsewhere:
            row = _share_row(title, place.share)
            lines += ["", *wrap(_say_disk(place.folder, place.free_bytes, place.disk_bytes), screen.width)]
            lines.append(f"  {format_row(fit([Column(key) for key in row], [row], screen.width), row)}")
    if usage.kept.number:
        kept = f"{count(usage.kept.number, 'model')}, {format_bytes(usage.kept.size_bytes)}"
        lines += ["", *wrap(f"Elsewhere, since others keep the files: {kept}", screen.width)]
    lines += _render_shared(usage.shared, screen)
    if usage.duplicates:
        wasted = format_bytes(sum(one.wasted_bytes for one in usage.duplicates))
        lines += ["", f"More than once on this machine: {wasted} could be saved"]
        for duplicate in usage.duplicates[:MANY]:
            lines += _render_duplicate(duplicate, usage.models)
        if len(usage.duplicates) > MANY:
            lines.append(f"  and {len(usage.duplicates) - MANY} more")
    if usage.garbage_bytes:
        hint = f"`lf store gc` would free {format_bytes(usage.garbage_bytes)}"
        lines += ["", *(screen.paint(text, "dim") for text in wrap(hint, screen.width))]
    return lines


def _say_disk(folder: Path, free_bytes: int, disk_bytes: int) -> str:
    return f"{line(str(folder))}: {format_bytes(free_bytes)} free of {format_bytes(disk_bytes)}"


def _share_row(title: str, share: Share) -> Mapping[str, str]:
    return {"what": title, "number": str(share.number or ""), "size": format_bytes(share.size_bytes)}


def _render_duplicate(duplicate: Duplicate, models: Path) -> list[str]:
    """Files of the store by their names alone: where they lie is long, and nobody is to touch them."""
    size = f"  {format_bytes(duplicate.copies[0].size_bytes)}  "
    named = [f"{_say_owner(copy)}: {_say_place(copy.path, models)}" for copy in duplicate.copies]
    return [size + named[0], *(" " * len(size) + other for other in named[1:])]


def _say_owner(copy: Copy) -> str:
    return line(say_keeper(copy.keeper) if copy.keeper else copy.owner)


def _say_place(path: Path, models: Path) -> str:
    return line(path.name if path.is_relative_to(models) else str(path))


def _render_shared(shared: Sequence[SharedStore], screen: Screen) -> list[str]:
    lines = []
    for store in shared:
        size = format_bytes(sum(model.size_bytes for model in store.models if not model.keeper))
        found = store.root.problem or f"{count(len(store.models), 'model')}, {size}, only read"
        lines += wrap(f"{line(str(store.root.named))}: {line(found)}", screen.width, "  ")
    return ["", "Shared stores", *lines] if lines else []


def usage_to_json(usage: Usage) -> Json:
    """`lf store df --json`."""
    return {
        "models_folder": str(usage.models),
        **{f"{kind}_bytes": usage.kinds[kind].size_bytes if kind in usage.kinds else 0 for kind in KINDS},
        **{f"{kind}_count": usage.kinds[kind].number if kind in usage.kinds else 0 for kind in KINDS},
        "runtime_bytes": usage.runtimes.share.size_bytes,
        "runtime_count": usage.runtimes.share.number,
        "cache_bytes": usage.caches.share.size_bytes,
        "total_bytes": usage.total_bytes,
        "other_disks": [
            {
                "folder": str(place.folder),
                "size_bytes": place.share.size_bytes,
                "free_bytes": place.free_bytes,
                "disk_bytes": place.disk_bytes,
            }
            for place in usage.elsewhere
        ],
        "kept_elsewhere_bytes": usage.kept.size_bytes,
        "kept_elsewhere_count": usage.kept.number,
        "garbage_bytes": usage.garbage_bytes,
        "free_bytes": usage.free_bytes,
        "disk_bytes": usage.disk_bytes,
        "shared": [_shared_to_json(store) for store in usage.shared],
        "duplicates": [
            {"wasted_bytes": one.wasted_bytes, "copies": [_copy_to_json(copy) for copy in one.copies]}
            for one in usage.duplicates
        ],
    }


def _copy_to_json(copy: Copy) -> Json:
    return {"owner": copy.owner, "path": str(copy.path), "size_bytes": copy.size_bytes, "sha256": copy.sha256}


def _shared_to_json(store: SharedStore) -> Json:
    return {
        "folder": str(store.root.named),
        "models_folder": str(store.root.models),
        "problem": store.root.problem,
        "model_count": len(store.models),
        "model_bytes": sum(model.size_bytes for model in store.models if not model.keeper),
    }


def render_collected(collected: Collected, screen: Screen) -> list[str]:
    """What was removed, or would be, and what was left alone."""
    lines = [_render_garbage(collected.removed, screen)] if collected.removed else []
    would = "would be " if collected.dry_run else ""
    freed = format_bytes(collected.freed_bytes)
    free = format_bytes(collected.free_bytes)
    number = count(len(collected.removed), "thing")
    removed = f"{number} {would or ''}removed, {freed} {would or ''}freed; {free} free now"
    text = removed if collected.removed else f"Nothing to remove; {free} free"
    rows = [*(row for group in lines for row in group), *wrap(text, screen.width)]
    rows += _render_left("Left alone, since a process works on it:", [item.name for item in collected.busy], screen)
    rows += _render_left("Left alone, since lf did not put it there:", map_paths(collected.unknown), screen)
    return rows + _render_problems(collected.problems, screen)


def _render_garbage(items: Sequence[Garbage], screen: Screen) -> list[str]:
    rows = [
        {"what": _say_kind(item), "size": format_bytes(item.size_bytes), "name": line(_name(item))} for item in items
    ]
    widths = fit([Column("what"), Column("size", right=True), Column("name")], rows, screen.width)
    return [format_row(widths, row) for row in rows]


def _say_kind(item: Garbage) -> str:
    return "unfinished copy" if item.kind == "partial" and item.path.parent.name == "import" else GARBAGE[item.kind]


def _name(item: Garbage) -> str:
    return str(item.path) if item.kind == "move" else item.name


def map_paths(paths: Sequence[Path]) -> list[str]:
    """Paths as text."""
    return [str(path) for path in paths]


def _render_left(title: str, names: Sequence[str], screen: Screen) -> list[str]:
    return ["", *wrap(title, screen.width), *(f"  {line(name)}" for name in names)] if names else []


def _render_problems(problems: Sequence[LfError], screen: Screen) -> list[str]:
    lines = []
    for problem in problems:
        lines += ["", *wrap(f"Left alone: {line(problem.message)}", screen.width), *block(problem.detail or "")]
    return lines


def collected_to_json(collected: Collected) -> Json:
    """`lf store gc --json`."""
    return {
        "dry_run": collected.dry_run,
        "removed": [_garbage_to_json(item) for item in collected.removed],
        "freed_bytes": collected.freed_bytes,
        "free_bytes": collected.free_bytes,
        "busy": [_garbage_to_json(item) for item in collected.busy],
        "unknown": map_paths(collected.unknown),
        "unreadable": [{"message": problem.message, "detail": problem.detail} for problem in collected.problems],
    }


def _garbage_to_json(item: Garbage) -> Json:
    return {"kind": item.kind, "name": item.name, "path": str(item.path), "size_bytes": item.size_bytes}


def render_location(location: Location, screen: Screen) -> list[str]:
    """Where the store is, and why."""
    state = "" if location.exists else "not there yet"
    if location.decided_by == "move" and not location.exists:
        state = "not there: is its disk connected?"
    elif not location.writable:
        state = "only to read"
    rows = {
        "Decided by": DECIDED[location.decided_by].format(data=location.data),
        "State": state,
        "Free": format_bytes(location.free_bytes) if location.free_bytes is not None else "",
        "Data": str(location.data),
        "Unfinished": _say_unfinished(location),
    }
    lines = [line(str(location.models))]
    for title, text in rows.items():
        if text:
            first, *others = wrap(line(text), screen.width and screen.width - 14)
            lines += [f"  {title:<12}{first}", *(" " * 14 + other for other in others)]
    return lines + _render_shared(location.shared, screen)


def _say_unfinished(location: Location) -> str:
    if location.source:
        return f"{location.source} still has some of it; `lf store gc` ends the move"
    if location.target:
        return f"a move to {location.target}; `lf store move {location.target}` goes on with it"
    return ""


def location_to_json(location: Location) -> Json:
    """`lf store location --json`."""
    return {
        "models_folder": str(location.models),
        "decided_by": location.decided_by,
        "data_folder": str(location.data),
        "exists": location.exists,
        "writable": location.writable,
        "free_bytes": location.free_bytes,
        "moving_from": location.source and str(location.source),
        "moving_to": location.target and str(location.target),
        "shared": [_shared_to_json(store) for store in location.shared],
    }


def render_moved(moved: Moved, screen: Screen) -> list[str]:
    """Where the store is now, and what stays where it was."""
    if moved.source is None:
        return wrap(f"The store is in {line(str(moved.models))} already", screen.width)
    text = f"The store is in {line(str(moved.models))} now"
    title = f"Left in {line(str(moved.source))}, since lf did not put it there:"
    return [*wrap(text, screen.width), *_render_left(title, map_paths(moved.left), screen)]


def moved_to_json(moved: Moved) -> Json:
    """`lf store move --json`."""
    return {
        "models_folder": str(moved.models),
        "moved_from": moved.source and str(moved.source),
        "left": map_paths(moved.left),
    }


def render_removal(names: Sequence[str], removal: Removal, screen: Screen) -> list[str]:
    """What a removal freed, and what stays."""
    freed = format_bytes(removal.freed_bytes)
    effect = f"{freed} freed"
    if not removal.freed_bytes and not removal.kept_bytes:
        outside = any(model.keeper for model in removal.models)
        effect = "its files stay where they are" if outside else "there was nothing left of its files"
    builds = {(model.name, model.variant) for model in removal.models}
    several = ""
    if len(removal.models) > 1:
        revisions = f", {count(len(removal.models), 'revision')}" if len(removal.models) > len(builds) else ""
        several = f" ({count(len(builds), 'build')}{revisions})"
    verb = "is" if len(names) == 1 else "are"
    lines = wrap(f"{line(', '.join(names))} {verb} removed{several}: {effect}", screen.width)
    if removal.kept_bytes:
        kept = f"{format_bytes(removal.kept_bytes)} stay: a model that you imported has its files from there"
        lines += wrap(kept, screen.width)
    for build, store in dict.fromkeys((model.full_name, model.shared) for model in removal.shared):
        lines += wrap(f"{line(build)} is still in the shared store {line(store)}", screen.width)
    return lines


def removal_to_json(names: Sequence[str], removal: Removal) -> Json:
    """`lf model rm --json`."""
    return {
        "removed": ", ".join(names),
        "freed_bytes": removal.freed_bytes,
        "kept_bytes": removal.kept_bytes,
        "models": [
            {"name": model.name, "variant": model.variant, "revision": model.revision} for model in removal.models
        ],
        "shared": [{"name": model.name, "variant": model.variant, "store": model.shared} for model in removal.shared],
    }
