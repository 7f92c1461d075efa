"""Where things lie in the store: one folder per model and revision, holding plain files.

* `models/<org>--<repo>/<commit, 12 digits>/<name>@<variant>/`: `manifest.json`, `files/<the repository's paths>`,
  `.trails/<digest>.trail` (see `trail`), and while it is being fetched `.partial/<digest>.part` with its `.journal`;
  `derived/` with what was made of its files here (see `derive`);
* `models/import--<name>/import/<variant>/manifest.json`: an import's files and those of other tools stay where they
  are, unless it was asked for a copy, which lies in `files/` beside it;
* `models/.locks/<the model's folder>.lock`, and `<name>.lock` for the records and workplaces of that name;
* `models/revisions.json` and `damage.json`, records of the whole store; `models/.bundles/` and `.builds/`, workplaces:
  of use only while they are locked;
* `models/lf-store.json`, in a store that was moved: an empty folder where a disk should be is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localfirst import paths
from localfirst.errors import ModelFileError
from localfirst.store.names import is_blob, is_projector, make_folder_name

if TYPE_CHECKING:
    from localfirst.types import Derived, InstalledModel

MANIFEST = "manifest.json"
FILES = "files"
DERIVED = "derived"
PARTIAL = ".partial"
TRAILS = ".trails"
LOCKS = ".locks"
MARK = "lf-store.json"
RECORDS = ("revisions", "damage")
"""Names of records, `<name>.json` beside the models; copies of damaged ones are `<name>.*.json`."""
WORKPLACES = ("bundles", "builds")
"""Names of folders, `.<name>`, with what a process is making."""

# Formats that are opened as a folder, by the file that each engine looks for in it.
_FOLDER_MARKERS = {
    "onnx": "genai_config.json",
    "mlx": "config.json",
    "openvino": "openvino_model.xml",
    "safetensors": "config.json",
}


def find_folder(name: str, variant: str, repo: str | None, revision: str | None) -> Path:
    """The folder of one model; `repo` and `revision` are `None` for imports.

    Twelve digits of the commit tell revisions apart and keep Windows under its 260 characters; the manifest has all.
    """
    if repo is None or revision is None:
        return paths.models_dir() / f"import--{make_folder_name(name)}" / "import" / make_folder_name(variant)
    # A name given by its repository needs no second mention of it.
    short = "" if name.startswith(f"hf:{repo}") else name
    tail = name.removeprefix(f"hf:{repo}") if not short else ""
    leaf = make_folder_name(f"{short}@{variant}{tail}")
    return paths.models_dir() / repo.replace("/", "--") / make_folder_name(revision)[:12] / leaf


def find_lock(folder: Path) -> Path:
    """The lock file of a model's folder. It lies outside, so that the folder can go while the lock is held.

    By the folder alone, which is three below its store: while a store is moved, there are two of them.
    """
    return folder.parents[2] / LOCKS / ("+".join(folder.parts[-3:]) + ".lock")


def find_record_lock(models: Path, name: str) -> Path:
    """The lock file of a record or workplace of the store `models`."""
    return models / LOCKS / f"{name}.lock"


def find_records(models: Path) -> tuple[Path, ...]:
    """The records that are there."""
    return tuple(
        path for name in RECORDS for path in sorted(models.glob(f"{name}.json")) + sorted(models.glob(f"{name}.*.json"))
    )


def find_derived(model: InstalledModel, derived: Derived) -> Path:
    """Where the file lies that was made of a model's own."""
    own = model.keeper is None
    home = Path(model.root).parent if own else find_folder(model.name, model.variant, model.repo, model.revision)
    return home / DERIVED / derived.path


def find_loadable(model: InstalledModel) -> Path:
    """What an engine opens: the file that was made for it, else what was published.

    Raises:
        ModelFileError: the model has no such file.
    """
    return find_derived(model, model.derived) if model.derived else find_main(model)


def find_main(model: InstalledModel) -> Path:
    """What of the published files an engine opens: the folder with the configuration, or the (first) file.

    Raises:
        ModelFileError: the model has no such file.
    """
    root = Path(model.root)
    marker = _FOLDER_MARKERS.get(model.format)
    if marker is not None:
        found = sorted((file.path for file in model.files if file.path.split("/")[-1] == marker), key=len)
        if found:
            return (root / found[0]).parent
    else:
        suffix = f".{model.format}"
        found = sorted(
            file.path for file in model.files if file.path.lower().endswith(suffix) and not is_projector(file.path)
        )
        if not found and (len(model.files) == 1 or all(is_blob(file.path) for file in model.files)):
            found = [model.files[0].path]  # of files that other tools name by their digests, the model comes first
        if found:
            return root / found[0]
    raise ModelFileError(f"`{model.name}` has no {marker or suffix} file", detail=str(root))
