"""How often what streams is passed on: for all requests at the same moments, since who wakes for one is awake for all.

To wake costs more than what is then done, beside an engine that keeps every core busy and whose weights push everything
else out of the caches.
"""

from __future__ import annotations

import time

PACE_S = 0.03
"""Nobody reads faster than this. On 2 cores of which both compute, 15 ms cost an engine of 240 tokens/s three
hundredths of its speed, and 30 ms one."""
MOST_PACE_S = 0.12
"""So often at the least, however many requests there are."""
FEW, MANY = 2, 4
"""Requests at a time up to which each is passed on as often as one alone: of more each is less often, so that all
together are not more often. And from which on none waits in the engine for its next token: 16 that get one every 40 ms
would else be passed on at each."""


def find_pace_s(requests: int) -> float:
    """How far apart the moments are, for so many requests at a time."""
    return min(MOST_PACE_S, PACE_S * max(1.0, requests / FEW))


def find_wait_s(pace_s: float = PACE_S) -> float:
    """Seconds until the next of the moments that lie so far apart."""
    return pace_s - time.monotonic() % pace_s
