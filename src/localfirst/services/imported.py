"""A model on this disk that the catalog does not know, described from its own files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localfirst.errors import ModelFileError
from localfirst.services.catalogue import find_recipe
from localfirst.store import formats, layout
from localfirst.store.keepers import is_tool
from localfirst.types import InstalledModel, Model, ModelFile, Variant

if TYPE_CHECKING:
    from localfirst.store.formats import Told

TITLE_LENGTH = 80


def describe(installed: InstalledModel) -> Model:
    """The model as a catalog entry of one variant, without what files tell that cannot be read any more."""
    told, derived = tell(installed), installed.derived
    return Model(
        name=installed.name,
        title=installed.title or (told.title or "")[:TITLE_LENGTH] or installed.name,
        vendor=_find_vendor(installed),
        parameters=told.parameters,
        active_parameters=None,
        task=told.task or "chat",
        license=(installed.license or told.license or "unknown")[:TITLE_LENGTH],
        license_url=None,
        family=installed.name,
        size=None,
        aliases=(),
        architecture=told.architecture,
        variants=(
            Variant(
                name=installed.variant,
                format=installed.format,
                quantization=installed.quantization or "unknown",
                origin="community",
                tier="community",
                host=installed.host,
                repo=installed.repo or installed.root,
                revision=installed.revision,
                files=tuple(ModelFile(file.path, file.size_bytes, file.sha256) for file in installed.files),
                devices=told.devices,
                size_bytes=installed.size_bytes,
                gated=False,
                confidence="verified",
                source="the file itself",
                context_tokens=told.context_tokens,
                recipe=derived.recipe if derived else find_recipe(installed.files, installed.quantization),
            ),
        ),
    )


def _find_vendor(installed: InstalledModel) -> str:
    if installed.host == "import":
        return "unknown" if is_tool(installed.keeper) else "you"
    return (installed.repo or "").partition("/")[0]


def tell(installed: InstalledModel) -> Told:
    """What a model's own files tell; nothing where their format is not read, or they are gone or damaged.

    What is wrong with them is said where they are needed: all that mends or forgets a model has to work without them.
    """
    root = Path(installed.root)
    with suppress(ModelFileError, OSError):
        files = tuple(root / file.path for file in installed.files)
        return formats.tell(installed.format, layout.find_main(installed), files)
    return formats.Told()
