"""Peak memory bandwidth of well-known devices, by name. Pure.

Only names that stand for exactly one figure are here: a card sold with two kinds of memory under one name (RTX 4070,
RTX 3060 Ti), and every laptop GPU, is unknown. Main memory of a computer is not in any table.

Sources: for graphics cards the maker's own specification (bus width and data rate, whose product is the bandwidth);
for accelerators and Apple chips the bandwidth that the maker states. The page is named beside each group.
"""

from __future__ import annotations

import re

from localfirst.units import GB, GIB

_BUS_CARDS: dict[str, tuple[int, float]] = {
    # nvidia.com, "Compare GeForce graphics cards", and the RTX Blackwell architecture whitepaper (GDDR7)
    "geforce rtx 5090": (512, 28),
    "geforce rtx 5080": (256, 30),
    "geforce rtx 5070 ti": (256, 28),
    "geforce rtx 5070": (192, 28),
    "geforce rtx 5060 ti": (128, 28),
    "geforce rtx 5060": (128, 28),
    "rtx pro 6000 blackwell workstation edition": (512, 28),
    # nvidia.com, the Ada GPU architecture whitepaper and the cards' product pages (GDDR6X, GDDR6)
    "geforce rtx 4090": (384, 21),
    "geforce rtx 4080 super": (256, 23),
    "geforce rtx 4080": (256, 22.4),
    "geforce rtx 4070 ti super": (256, 21),
    "geforce rtx 4070 ti": (192, 21),
    "geforce rtx 4060 ti": (128, 18),
    "geforce rtx 4060": (128, 17),
    "rtx 6000 ada generation": (384, 20),
    "l40s": (384, 18),
    # nvidia.com, the Ampere GA102 architecture whitepaper and the cards' product pages
    "geforce rtx 3090 ti": (384, 21),
    "geforce rtx 3090": (384, 19.5),
    "geforce rtx 3080 ti": (384, 19),
    "geforce rtx 3080 10gib": (320, 19),
    "geforce rtx 3080 12gib": (384, 19),
    "geforce rtx 3070 ti": (256, 19),
    "geforce rtx 3070": (256, 14),
    "geforce rtx 3060 12gib": (192, 15),
    "rtx a6000": (384, 16),
    # nvidia.com, the Turing architecture whitepaper and the cards' product pages (GDDR6)
    "geforce rtx 2080 ti": (352, 14),
    "geforce rtx 2080": (256, 14),
    "geforce rtx 2070": (256, 14),
    "geforce rtx 2060": (192, 14),
    # nvidia.com, product pages of the GeForce 16 and 10 series (GDDR6, GDDR5X, GDDR5)
    "geforce gtx 1660 super": (192, 14),
    "geforce gtx 1660 ti": (192, 12),
    "geforce gtx 1660": (192, 8),
    "geforce gtx 1080 ti": (352, 11),
    "geforce gtx 1080": (256, 10),
    "geforce gtx 1070 ti": (256, 8),
    "geforce gtx 1070": (256, 8),
    "geforce gtx 1060 6gb": (192, 8),
    "geforce gtx 1050 ti": (128, 7),
    # amd.com, product pages of the Radeon RX 9000, 7000 and 6000 series (GDDR6)
    "radeon rx 9070 xt": (256, 20),
    "radeon rx 9070": (256, 20),
    "radeon rx 9060 xt": (128, 20),
    "radeon rx 7900 xtx": (384, 20),
    "radeon rx 7900 xt": (320, 20),
    "radeon rx 7900 gre": (256, 18),
    "radeon rx 7800 xt": (256, 19.5),
    "radeon rx 7700 xt": (192, 18),
    "radeon rx 7600": (128, 18),
    "radeon rx 6950 xt": (256, 18),
    "radeon rx 6900 xt": (256, 16),
    "radeon rx 6800 xt": (256, 16),
    "radeon rx 6800": (256, 16),
    "radeon rx 6700 xt": (192, 16),
    "radeon rx 6600 xt": (128, 16),
    "radeon rx 6600": (128, 14),
    # amd.com, Ryzen AI Max+ 395: 256 bits of LPDDR5X-8000, soldered
    "radeon 8060s": (256, 8),
    # intel.com, Core Ultra 200V: 128 bits of LPDDR5X-8533 on the package
    "arc graphics (lunar lake)": (128, 8.533),
    # intel.com, product pages of the Arc A and B series (GDDR6)
    "arc b580": (192, 19),
    "arc b570": (160, 19),
    "arc a770 16gib": (256, 17.5),
    "arc a750": (256, 16),
    "arc a580": (256, 16),
    "arc a380": (96, 15.5),
}
"""Name -> bits of the memory bus, and gigabits per second and pin."""

_STATED_GB_PER_S: dict[str, int] = {
    # nvidia.com, data sheets of H200, H100, A100, L4 and A10; DGX Spark's specification for GB10
    "h200": 4800,
    "h100 80gb hbm3": 3350,
    "a100-sxm4-80gb": 2039,
    "a100-sxm4-40gb": 1555,
    "a100-pcie-40gb": 1555,
    "a100 80gb pcie": 1935,
    "l4": 300,
    "a10": 600,
    "gb10": 273,
}

_APPLE_GB_PER_S: dict[str, dict[int | None, int]] = {
    # apple.com, technical specifications and newsroom announcements of the Macs with these chips
    "Apple M1": {None: 68},
    "Apple M1 Pro": {None: 200},
    "Apple M1 Max": {None: 400},
    "Apple M1 Ultra": {None: 800},
    "Apple M2": {None: 100},
    "Apple M2 Pro": {None: 200},
    "Apple M2 Max": {None: 400},
    "Apple M2 Ultra": {None: 800},
    "Apple M3": {None: 100},
    "Apple M3 Pro": {None: 150},
    "Apple M3 Max": {10: 300, 12: 400},
    "Apple M3 Ultra": {None: 819},
    "Apple M4": {None: 120},
    "Apple M4 Pro": {None: 273},
    "Apple M4 Max": {10: 410, 12: 546},
    "Apple M5": {None: 153},
}
"""Chip -> performance cores -> GB/s. A Max has a smaller version, which its cores tell apart; `None` is any number."""

_NOISE = re.compile(r"\((?:tm|r)\)|^(?:nvidia|amd|intel)\s|\sgraphics$")


def find_bandwidth(name: str, memory_bytes: int | None) -> int | None:
    """Bytes per second of a GPU by its whole name (and its memory, where one name has two sizes), or `None`."""
    key = " ".join(_NOISE.sub("", _NOISE.sub("", name.lower())).split())
    sized = f"{key} {round(memory_bytes / GIB)}gib" if memory_bytes else key
    for wanted in (sized, key):
        if wanted in _STATED_GB_PER_S:
            return _STATED_GB_PER_S[wanted] * GB
        if wanted in _BUS_CARDS:
            bits, gigabits_per_s = _BUS_CARDS[wanted]
            return round(bits * gigabits_per_s * GB / 8)
    return None


def find_apple_bandwidth(chip: str, performance_cores: int | None) -> int | None:
    """Bytes per second of an Apple chip, or `None`."""
    by_cores = _APPLE_GB_PER_S.get(chip, {})
    stated = by_cores.get(None, by_cores.get(performance_cores))
    return None if stated is None else stated * GB
