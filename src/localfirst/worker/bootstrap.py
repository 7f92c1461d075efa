"""The first lines that a worker runs, by path, in whatever interpreter has the engine.

Makes this very copy of `localfirst` importable there and nothing else of the environment that `lf` lives in: two
interpreters never share compiled packages.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def expose_package(folder: Path) -> None:
    """Let `import localfirst` find the package in `folder`, without putting its neighbours on the path."""
    spec = importlib.util.spec_from_file_location(
        "localfirst", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["localfirst"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    expose_package(Path(__file__).resolve().parent.parent)
    from localfirst.worker.main import main

    main()
