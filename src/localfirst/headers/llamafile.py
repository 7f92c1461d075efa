"""What stands in a llamafile besides a program and a model: the words that it starts itself with, one a line.

Source: mozilla-ai/llamafile, `docs/creating_llamafiles.md`.
"""

from __future__ import annotations

ARGUMENTS = ".args"
"""The name of the member that has them."""
REST = "..."
"""The place among them for what is typed; without it, whatever is typed replaces all of them."""
