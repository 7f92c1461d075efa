"""How fast the processor reads main memory, measured: no system tells it, and a processor's name does not either."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from localfirst.hwprobe.host import Host
from localfirst.units import parse_bytes

MIB = 2**20
LEAST_BYTES = 256 * MIB
CACHES = 4
"""So many times as much as the last cache holds is read, lest the cache be measured."""
ROUNDS = 4
"""The fastest counts: whatever else is going on only makes it slower."""
_CACHE = "/sys/devices/system/cpu/cpu0/cache/index*/size"


def measure(threads: int, free_bytes: int | None) -> int | None:
    """Bytes per second that so many threads read from memory together.

    C's `memcmp` of equal buffers reads both from end to end, computes next to nothing, and writes nothing.

    Args:
        threads: as many as an engine computes with.
        free_bytes: memory that is free; at most a quarter of it is used.

    Returns:
        `None` where there is too little memory to tell it from the caches.
    """
    cache_bytes = find_cache(Host())
    size = max(LEAST_BYTES, CACHES * cache_bytes)
    if free_bytes is None or size > free_bytes // 4:
        size = max(2 * cache_bytes, LEAST_BYTES)
    if free_bytes is None or size > free_bytes // 4:
        return None
    part = size // (2 * threads)
    pairs = [(b"\1" * part, b"\1" * part) for _ in range(threads)]  # written, for untouched pages are all one page
    compare = (ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)).memcmp
    compare.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    started = threading.Barrier(threads)

    def read(pair: tuple[bytes, bytes]) -> tuple[float, float]:
        started.wait()
        began = time.perf_counter()
        compare(*pair, part)
        return began, time.perf_counter()

    fastest = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            spans = list(pool.map(read, pairs))
            fastest = min(fastest, max(end for _, end in spans) - min(begin for begin, _ in spans))
    return int(2 * part * threads / fastest)


def find_cache(host: Host) -> int:
    """Bytes of the largest cache of the first processor; 0 where it does not say."""
    sizes = [0]
    for path in host.glob(_CACHE):
        try:
            sizes.append(parse_bytes((host.read(path) or "").strip().replace("K", "Ki").replace("M", "Mi")))
        except ValueError:
            continue
    return max(sizes)
