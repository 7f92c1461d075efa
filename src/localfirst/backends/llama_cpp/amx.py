"""Whether a build of llama.cpp would crash on this processor's AMX tiles. Pure.

GCC before 13 declares only 8 of the 64 bytes that `_tile_loadconfig` reads, drops the stores to the others, and the
processor faults as soon as a prompt is long enough for tiles (40 tokens; a short test passes). The tiles are only used
for weights in llama.cpp's extra buffers, so a build that is affected does without those.
"""

from __future__ import annotations

import re

_GCC = re.compile(rb"GCC: \([^)\0]*\) (\d+)\.\d+")
"""How GCC signs what it compiles, in the section `.comment`: `GCC: (Debian 12.2.0-14+deb12u1) 12.2.0`."""
_TILES = re.compile(r"AMX_INT8 = 1")
FIRST_SOUND_GCC = 13


def find_gcc(code: bytes) -> int | None:
    """The oldest major version of GCC that signed a library; `None` where another compiler made it."""
    return min(map(int, _GCC.findall(code)), default=None)


def has_broken_tiles(system: str, code: bytes) -> bool:
    """Whether the build uses AMX on this processor and was compiled by a GCC that gets it wrong.

    Args:
        system: what llama.cpp says of the instruction sets that it uses here.
        code: its library for the processor.
    """
    if not _TILES.search(system):
        return False
    gcc = find_gcc(code)
    return gcc is not None and gcc < FIRST_SOUND_GCC
