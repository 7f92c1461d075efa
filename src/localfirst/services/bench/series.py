"""The samples of one workload by one contender as they come, with what was seen beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localfirst.bench.values import Load, Series
from localfirst.catalog.traffic import find_token_bytes
from localfirst.hwprobe import conditions, footprint
from localfirst.hwprobe.host import Host
from localfirst.hwprobe.memory_speed import find_cache
from localfirst.hwprobe.probe import probe
from localfirst.services.bench import marks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localfirst.backends.base import LoadedInfo
    from localfirst.bench.values import Conditions, Contender, Sample, Workload
    from localfirst.hwprobe.conditions import Observer
    from localfirst.services.bench.contenders import Ready
    from localfirst.services.bench.repetition import Asker, Outcome

UNLOADED = Load(None, None)


class Gathering:
    """A series that is being measured."""

    def __init__(self, ready: Ready, contender: Contender, workload: Workload, info: LoadedInfo) -> None:
        self._ready, self._contender, self._workload, self._info = ready, contender, workload, info
        self._outcomes: list[Outcome] = []
        self._peak_bytes: int | None = None
        self._device_peak_bytes: int | None = None
        self._others_s = self._all_s = 0.0
        self._throttled = False
        self.load = UNLOADED

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Those that there are."""
        return tuple(one.sample for one in self._outcomes)

    def take(self, asker: Asker, number: int, pid: int, observer: Observer, device_bytes: int | None) -> None:
        """Take the sample of a repetition; `device_bytes` is what the loaded model has of the device's memory.

        Raises:
            LfError: as `Asker.repeat`; nothing is taken then.
        """
        if self._ready.held is None:
            footprint.forget_peak(pid)
        free_bytes = read_device_free(self._ready)
        before, ours_before = observer.read_times(), _read_ours(pid)
        outcome = asker.repeat(self._workload, number)
        after, ours_after = observer.read_times(), _read_ours(pid)
        self._outcomes.append(outcome)
        self._watch(before, after, ours_after - ours_before)
        self._throttled = self._throttled or bool(observer.is_throttled())
        if (peak := footprint.read_footprint(pid)) is not None:
            self._peak_bytes = max(self._peak_bytes or 0, peak.peak_bytes)
        if device_bytes is not None and free_bytes is not None:
            grown = free_bytes - (read_device_free(self._ready) or free_bytes)
            self._device_peak_bytes = max(self._device_peak_bytes or 0, device_bytes + max(0, grown))

    def finish(self, bandwidths: Mapping[str, int | None], before: Conditions) -> Series:
        """The series, as far as it came."""
        local = self._ready.installed is not None
        workload = self._workload
        behind = workload.depth_tokens + workload.prompt_tokens + workload.generated_tokens // 2
        token_bytes = find_token_bytes(self._ready.plan.model, self._ready.plan.variant, behind, self._contender.cache)
        if self._contender.placement == "cpu" and token_bytes is not None and token_bytes < find_cache(Host()):
            token_bytes = None  # it need not come from memory
        return Series(
            contender=self._contender,
            workload=self._find_workload(),
            samples=self.samples,
            load=self.load,
            peak_bytes=self._peak_bytes if local and self._ready.held is None else None,
            device_peak_bytes=self._device_peak_bytes,
            bytes_per_token=token_bytes if workload.generated_tokens else None,
            bandwidth_bytes_per_s=bandwidths.get(self._contender.placement) if local else None,
            marks=marks.find_marks(
                workload,
                self._outcomes,
                self._info,
                busy_share=self._find_busy(before) if local else before.busy_share,
                throttled=self._throttled,
                on_battery=bool(before.on_battery),
                through_server=self._ready.held is not None,
            ),
        )

    def _find_workload(self) -> Workload:
        """The workload; of a text, how long it was is known only now."""
        if self._workload.scenario is None:
            return self._workload
        return self._workload._replace(prompt_tokens=self._outcomes[0].prompt_tokens)

    def _watch(self, before: conditions.Times | None, after: conditions.Times | None, ours_s: float) -> None:
        if before is not None and after is not None:
            self._others_s += max(0.0, after.busy_s - before.busy_s - ours_s)
            self._all_s += after.all_s - before.all_s

    def _find_busy(self, before: Conditions) -> float | None:
        """Others' share of the processors meanwhile; of what was too short to tell, that of the time before."""
        if self._all_s < marks.LEAST_WATCHED_S:
            return before.busy_share
        return min(1.0, self._others_s / self._all_s)


def read_device_free(ready: Ready) -> int | None:
    """Free memory of the device that computes; `None` where that is the processor, shares its memory, or is silent."""
    if ready.load.placement == "cpu":
        return None
    devices = (one for one in probe().devices if one.name == ready.plan.device_name and not one.unified)
    return next((one.memory_free_bytes for one in devices), None)


def _read_ours(pid: int) -> float:
    """Seconds that the worker, what it started and this process have computed."""
    taken = footprint.read_footprint(pid)
    own = os.times()
    return (taken.cpu_s if taken else 0.0) + own.user + own.system
