from __future__ import annotations

from pathlib import Path

import pytest

from localfirst.errors import RuntimeMissingError
from localfirst.runtimes.compile import Compiler, find_compiler, find_flags, parse_gcc, say_step

GCC_12, GCC_13, CLANG = (Compiler((name,), gcc) for name, gcc in (("g++", 12), ("g++", 13), ("clang++", None)))
SAPPHIRE_RAPIDS = frozenset(
    ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
) | {"avx512_vbmi"}
HASWELL = frozenset(("avx", "avx2", "fma", "f16c"))
CASCADE_LAKE = HASWELL | {"avx512f", "avx512_vnni"}


@pytest.mark.parametrize(
    ("macros", "gcc"),
    [
        ("#define __GNUC__ 12\n#define __GNUC_MINOR__ 2\n", 12),
        ("#define __GNUC__ 4\n#define __clang__ 1\n#define __clang_major__ 18\n", None),
        ("", None),
    ],
    ids=["GCC", "Clang", "silent"],
)
def test_gcc_is_told_from_clang_which_claims_to_be_one(macros: str, gcc: int | None) -> None:
    assert parse_gcc(macros) == gcc


@pytest.mark.parametrize(
    ("features", "compiler", "on", "off"),
    [
        (HASWELL, GCC_12, {"AVX2", "BMI2"}, {"AVX512", "AVX_VNNI", "AMX_TILE"}),
        (CASCADE_LAKE, GCC_13, {"AVX512", "AVX512_VNNI"}, {"AVX512_VBMI", "AVX512_BF16", "AVX_VNNI"}),
        (SAPPHIRE_RAPIDS, GCC_13, {"AVX512_VBMI", "AMX_TILE", "AMX_INT8", "AMX_BF16"}, set()),
        (SAPPHIRE_RAPIDS, CLANG, {"AVX512", "AMX_INT8"}, set()),
        (SAPPHIRE_RAPIDS, GCC_12, {"AVX512", "AVX512_VNNI", "AVX_VNNI"}, {"AMX_TILE", "AMX_INT8", "AMX_BF16"}),
        (frozenset(), GCC_13, set(), {"AVX", "FMA"}),
    ],
    ids=["no AVX-512", "VNNI before VBMI", "sound GCC", "Clang", "a GCC that gets AMX wrong", "nothing"],
)
def test_what_an_x86_processor_has_is_named(
    features: frozenset[str], compiler: Compiler, on: set[str], off: set[str]
) -> None:
    flags = find_flags("x86_64", features, compiler)
    assert "-DGGML_NATIVE=OFF" in flags
    assert {f"-DGGML_{name}=ON" for name in on} | {f"-DGGML_{name}=OFF" for name in off} <= set(flags)


def test_elsewhere_the_compiler_finds_what_the_processor_has() -> None:
    flags = find_flags("arm64", frozenset({"neon", "dotprod"}), GCC_12)
    assert "-DGGML_NATIVE=ON" in flags
    assert not any("AVX" in flag for flag in flags)


def test_no_compiler_is_an_error_that_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "dnf").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RuntimeMissingError, match="no C\\+\\+ compiler") as caught:
        find_compiler()
    assert caught.value.hint == "Type `sudo dnf install gcc-c++`"


def make_script(path: Path, words: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "wrapped", ["ccache g++ -pipe", '"{folder}/my tools/ccache" g++', "{folder}/my tools/ccache g++"]
)
@pytest.mark.parametrize("variable", ["CXX", "CC"])
def test_a_compiler_behind_a_wrapper_is_found_and_asked_for_its_version(
    variable: str, wrapped: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_script(tmp_path / "g++", 'test "$HF_TOKEN" || echo "#define __GNUC__ 11"')
    for wrapper in (tmp_path / "ccache", tmp_path / "my tools" / "ccache"):
        make_script(wrapper, 'exec "$@"')
    make_script(tmp_path / "my tools" / "ccache g++", 'echo "#define __GNUC__ 11"')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(variable, wrapped.format(folder=tmp_path))
    found = find_compiler()
    assert found.gcc == 11
    expected = {
        "ccache g++ -pipe": f"{tmp_path}/ccache g++ -pipe",
        '"{folder}/my tools/ccache" g++': f"'{tmp_path}/my tools/ccache' g++",
        "{folder}/my tools/ccache g++": f"{tmp_path}/my tools/ccache g++",
    }
    assert found.command == (expected[wrapped] if variable == "CXX" else f"{tmp_path}/g++")


@pytest.mark.parametrize("named", ["nope", "nope g++", "'nope"])
@pytest.mark.parametrize(("variable", "language"), [("CXX", "C++"), ("CC", "C")])
def test_a_variable_that_names_no_compiler_is_told_by_its_name(
    variable: str, language: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(variable, named)
    with pytest.raises(RuntimeMissingError) as caught:
        find_compiler()
    assert caught.value.message == f"{variable} names no compiler: {named}"
    assert caught.value.hint == f"Unset {variable}, or set it to the path of a {language} compiler"


def test_a_step_tells_what_is_left_once_it_can_be_told() -> None:
    assert say_step(1, 140, 3.0) == "compiling, part 1 of 140"
    assert say_step(35, 140, 100.0) == "compiling, part 35 of 140, about 5:00 left"
