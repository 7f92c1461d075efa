"""The moments at which what streams is passed on."""

from __future__ import annotations

import time
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends import pace


@given(st.floats(0, 1e7), st.floats(0, 1), st.sampled_from([0.03, 0.06, 0.12]))
def test_all_who_wait_wake_together(now_s: float, later: float, pace_s: float) -> None:
    with patch.object(time, "monotonic") as clock:
        clock.return_value = now_s
        first_s = pace.find_wait_s(pace_s)
        clock.return_value = now_s + first_s * later * 0.99
        second_s = pace.find_wait_s(pace_s)
    assert 0 < second_s <= first_s <= pace_s
    assert abs(clock.return_value + second_s - (now_s + first_s)) < 1e-6
