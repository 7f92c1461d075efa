"""Bundles, as lines of a screen and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import line, pad, wrap
from localfirst.cli.views.table import Column, fit, format_row
from localfirst.types import format_build
from localfirst.units import format_bytes

if TYPE_CHECKING:
    from localfirst.cli.screen import Screen
    from localfirst.services.bundle import Shown
    from localfirst.services.bundle_install import Installed, Placed
    from localfirst.store.bundles.contents import Contents, PackedModel, Target

_SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
_LABEL = 10
_COLUMNS = (Column("name"), Column("what"), Column("size", right=True), Column("files", rank=1))


def render_created(made: Shown, screen: Screen) -> list[str]:
    """What a new bundle holds, and what to type on the other machine."""
    name = line(str(made.path))
    head = f"{name} is ready: {format_bytes(made.size_bytes)}, for {_say_target(made.contents)}"
    hint = f"There, with lf {made.contents.lf_version}: lf bundle install {line(made.path.name)}"
    return [
        *wrap(head, screen.width),
        *_list_contents(made.contents, screen),
        "",
        *(screen.paint(text, "dim") for text in wrap(hint, screen.width)),
    ]


def render_bundle(shown: Shown, screen: Screen) -> list[str]:
    """All that is in a bundle."""
    contents = shown.contents
    digests = "every byte is right" if shown.verified else "not read yet; `--verify` compares every byte"
    facts = {
        "For": _say_target(contents),
        "Made by": f"lf {line(contents.lf_version)}",
        "Size": format_bytes(shown.size_bytes),
        "Digests": digests,
    }
    return [
        screen.paint(line(str(shown.path)), "bold"),
        *(f"  {pad(label, _LABEL)}{fact}" for label, fact in facts.items()),
        "",
        *_list_contents(contents, screen),
    ]


def _list_contents(contents: Contents, screen: Screen) -> list[str]:
    rows = [_describe_model(contents, model) for model in contents.models]
    for runtime in contents.runtimes:
        files = contents.find_members(runtime.folder)
        rows.append(
            {
                "name": line(runtime.name),
                "what": line(f"{runtime.engine} {runtime.version}"),
                "size": format_bytes(sum(file.size_bytes for file in files)),
                "files": _count(len(files), "wheel"),
            }
        )
    indented = None if screen.width is None else screen.width - 2
    widths = fit(_COLUMNS, rows, indented)
    return [f"  {format_row(widths, row)}" for row in rows]


def _describe_model(contents: Contents, model: PackedModel) -> dict[str, str]:
    name = line(format_build(model.name, model.variant))
    if model.host == "builtin":
        return {"name": name, "what": "part of lf itself"}
    files = contents.find_members(model.folder)
    what = " ".join(filter(None, (model.format, model.quantization)))
    return {
        "name": name,
        "what": line(f"{what}, {model.license}" if model.license else what),
        "size": format_bytes(sum(file.size_bytes for file in files)),
        "files": _count(len(files), "file"),
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _say_target(contents: Contents) -> str:
    target: Target = contents.target
    system = f"{_SYSTEMS.get(target.platform, line(target.platform))} {line(target.arch)}"
    return f"{system} with Python {line(target.python)}" if contents.runtimes else system


def render_installed(done: Installed, screen: Screen) -> list[str]:
    """What a bundle brought, and what to type now."""
    lines = [
        *(f"{line(name)} is added to the catalogs" for name in done.catalogs),
        *map(_say_placed, done.models),
        *(f"{line(name)} is part of lf" for name in done.built_in),
        *(
            f"{line(one.name)} is {'here already' if one.kept else 'ready'}: {line(one.engine)}"
            for one in done.runtimes
        ),
    ]
    first = next(iter([placed.model.name for placed in done.models] + list(done.built_in)), None)
    if done.missing:
        engines = " and ".join(f"`lf runtime install {name}`" for name in done.missing)
        hint = f"To run it, an engine is missing: {engines}, or a bundle made without --models-only brings it"
        return [*lines, "", *wrap(hint, screen.width)]
    hint = f"Run it: lf --offline run {line(first)}" if first else ""
    return [*lines, *(["", screen.paint(hint, "dim")] if hint and screen.terminal else [])]


def _say_placed(placed: Placed) -> str:
    model = placed.model
    size = f"{format_bytes(model.size_bytes)} in {_count(len(model.files), 'file')}"
    return f"{line(model.full_name)} is {'here already' if placed.kept else 'ready'}: {size}, verified"


def bundle_to_json(shown: Shown) -> dict[str, Any]:
    """`lf bundle create --json` and `lf bundle show --json`."""
    contents = shown.contents
    return {
        "path": str(shown.path),
        "size_bytes": shown.size_bytes,
        "verified": shown.verified,
        "lf_version": contents.lf_version,
        "target": contents.target._asdict(),
        "models": [
            model._asdict() | {"size_bytes": sum(file.size_bytes for file in contents.find_members(model.folder))}
            for model in contents.models
        ],
        "runtimes": [
            runtime._asdict() | {"size_bytes": sum(file.size_bytes for file in contents.find_members(runtime.folder))}
            for runtime in contents.runtimes
        ],
        "files": [member._asdict() for member in contents.members],
    }


def installed_to_json(done: Installed) -> dict[str, Any]:
    """`lf bundle install --json`."""
    return {
        "models": [placed.model.to_record() | {"kept": placed.kept} for placed in done.models],
        "built_in": list(done.built_in),
        "runtimes": [runtime._asdict() for runtime in done.runtimes],
        "catalogs": list(done.catalogs),
        "missing_runtimes": list(done.missing),
    }
