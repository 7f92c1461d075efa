"""What macOS and Windows tell through psutil, alike on both."""

from __future__ import annotations


def cpu_times() -> tuple[float, float]:
    """Seconds that all processors together have been at work, and that there were."""
    import psutil

    times = psutil.cpu_times()
    busy = times.user + times.system + getattr(times, "nice", 0.0)
    return busy, busy + times.idle


def on_battery() -> bool | None:
    """Whether it runs on its battery; `None` where it has none."""
    import psutil

    battery = psutil.sensors_battery()
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged
