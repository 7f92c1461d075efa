"""`/proc/cpuinfo` to values. Pure.

Source: proc_cpuinfo(5); for x86 flags the kernel's `arch/x86/include/asm/cpufeatures.h`, for Arm features
`Documentation/arch/arm64/elf_hwcaps.rst`, for Arm part numbers `arch/arm64/include/asm/cputype.h`.
"""

from __future__ import annotations

from typing import NamedTuple

from localfirst.hwprobe.text import clean

X86_FEATURES = {
    name: name
    for name in (
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512_vnni",
        "avx_vnni",
        "avx512_bf16",
        "amx_int8",
        "amx_bf16",
    )
} | {"avx512vbmi": "avx512_vbmi"}
ARM_FEATURES = {
    "asimd": "neon",
    "asimddp": "dotprod",
    "fphp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}
ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd80"): "Cortex-A520",
    ("0x41", "0xd81"): "Cortex-A720",
    ("0x41", "0xd82"): "Cortex-X4",
    ("0x41", "0xd85"): "Cortex-X925",
    ("0x41", "0xd87"): "Cortex-A725",
    ("0x51", "0x001"): "Oryon",
    ("0x61", "0x022"): "Apple M1 Icestorm",
    ("0x61", "0x023"): "Apple M1 Firestorm",
    ("0x61", "0x032"): "Apple M2 Blizzard",
    ("0x61", "0x033"): "Apple M2 Avalanche",
    ("0xc0", "0xac3"): "Ampere-1",
}
EFFICIENCY_PARTS = frozenset(
    {
        ("0x41", "0xd03"),
        ("0x41", "0xd04"),
        ("0x41", "0xd05"),
        ("0x41", "0xd46"),
        ("0x41", "0xd80"),
        ("0x61", "0x022"),
        ("0x61", "0x032"),
    }
)
"""Cores made to save power; on a chip with others too they are too slow to share work evenly."""


class Processor(NamedTuple):
    """One logical processor."""

    number: int
    core: tuple[str, str]
    """Package and core that it belongs to; where the kernel does not say, its own number."""
    part: tuple[str, str] | None
    """Arm: implementer and part number."""


class CpuInfo(NamedTuple):
    """What `/proc/cpuinfo` tells."""

    processors: tuple[Processor, ...] = ()
    name: str | None = None
    features: tuple[str, ...] = ()


def parse_cpuinfo(text: str) -> CpuInfo:
    r"""The file as a value; what cannot be understood is left out.

    x86 has `model name\t: AMD EPYC` and `flags\t\t: fpu vme ...` in each block; Arm has `Features`,
    `CPU implementer\t: 0x41` and `CPU part\t: 0xd0b`, and a last block about the
    board, `Model\t\t: Raspberry Pi 5 Model B Rev 1.0`.
    """
    processors: list[Processor] = []
    facts: dict[str, str] = {}
    for block in text.split("\n\n"):
        rows = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        number = rows.get("processor", "")
        if number.isascii() and number.isdecimal() and len(number) < 6:
            processors.append(_make_processor(int(number), rows))
        for key in ("model name", "Model", "flags", "Features"):
            if key in rows:
                facts.setdefault(key, rows[key])
    return CpuInfo(tuple(processors), _find_name(processors, facts), _find_features(facts))


def _make_processor(number: int, rows: dict[str, str]) -> Processor:
    core = (rows["physical id"], rows["core id"]) if "physical id" in rows and "core id" in rows else ("", str(number))
    part = (rows["CPU implementer"], rows["CPU part"]) if "CPU implementer" in rows and "CPU part" in rows else None
    return Processor(number, core, part)


def _find_name(processors: list[Processor], facts: dict[str, str]) -> str | None:
    """x86: the brand string. Arm: the board, where it is told, and the kinds of core."""
    parts = dict.fromkeys(one.part for one in processors if one.part)
    kinds = " + ".join(ARM_PARTS.get(part, f"Arm {part[0]}/{part[1]}") for part in parts)
    if facts.get("model name"):
        return clean(facts["model name"])
    board = clean(facts.get("Model", ""))
    return clean(f"{board} ({kinds})" if board and kinds else board or kinds) or None


def _find_features(facts: dict[str, str]) -> tuple[str, ...]:
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    wanted = X86_FEATURES if "flags" in facts else ARM_FEATURES
    return tuple(name for flag, name in wanted.items() if flag in flags)
