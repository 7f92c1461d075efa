"""Run the build of a language model that its own vendor made for a computer like this one.

    >>> import localfirst
    >>> with localfirst.load("starter") as model:
    ...     for piece in model.stream("How do I list the models that fit this machine?"):
    ...         print(piece, end="")

Importing this package loads nothing heavy; the names below are found on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localfirst.services.api import LoadedModel, load, plan, probe

__version__ = "0.1.0"
__all__ = ["LoadedModel", "__version__", "load", "plan", "probe"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("localfirst.services.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
