"""Cores as Windows lists them: the bytes of `GetLogicalProcessorInformationEx(RelationProcessorCore)`. Pure.

Source: Microsoft's documentation of `SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX` and `PROCESSOR_RELATIONSHIP` (winnt.h).
"""

from __future__ import annotations

import struct

_ENTRY = struct.Struct("<IIBB20xHQH6x")
"""Relationship, size of the entry, flags, efficiency class, number of groups; mask and number of the first group."""


def count_performance_cores(entries: bytes, affinity: int | None = None) -> int | None:
    """Physical cores of the fastest kind among those that the process may use; `None` when there are none.

    The efficiency class is higher the faster a core is, and 0 for all where all are alike.

    Args:
        entries: one entry a core, each as long as it says.
        affinity: the process's mask of processors; `None` or 0 where they lie in several groups.
    """
    classes = []
    start = 0
    while start + _ENTRY.size <= len(entries):
        _, size, _, efficiency_class, _, mask, _ = _ENTRY.unpack_from(entries, start)
        if not affinity or mask & affinity:
            classes.append(efficiency_class)
        start += max(size, _ENTRY.size)
    return classes.count(max(classes)) if classes else None
