from __future__ import annotations

import pytest

from localfirst.backends.llama_cpp.amx import find_gcc, has_broken_tiles

SYSTEM = "CPU : SSE3 = 1 | AVX512 = 1 | AMX_INT8 = 1 | REPACK = 1"
DEBIAN_12 = b"\0GCC: (Debian 12.2.0-14+deb12u1) 12.2.0\0"
MANYLINUX = b"\0GCC: (GNU) 14.2.1 20250110 (Red Hat 14.2.1-7)\0GCC: (GNU) 4.8.5 20150623\0"
CLANG = b"\0Ubuntu clang version 18.1.3 (1ubuntu1)\0"


@pytest.mark.parametrize(
    ("code", "gcc"),
    [(DEBIAN_12, 12), (MANYLINUX, 4), (CLANG, None), (b"", None)],
    ids=["one", "the oldest of two", "another compiler", "no library"],
)
def test_the_compiler_is_the_one_that_signed(code: bytes, gcc: int | None) -> None:
    assert find_gcc(code) == gcc


@pytest.mark.parametrize(
    ("system", "code", "broken"),
    [
        (SYSTEM, DEBIAN_12, True),
        (SYSTEM, b"GCC: (GNU) 13.1.0", False),
        (SYSTEM, CLANG, False),
        (SYSTEM.replace("AMX_INT8 = 1", "AMX_INT8 = 0"), DEBIAN_12, False),
        ("CPU : AVX2 = 1", DEBIAN_12, False),
    ],
    ids=["old GCC", "sound GCC", "Clang", "no AMX here", "no AMX in the build"],
)
def test_tiles_are_broken_where_an_old_gcc_compiled_them(system: str, code: bytes, broken: bool) -> None:
    assert has_broken_tiles(system, code) == broken
