"""What wraps this process: a container, or Windows's Linux subsystem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.hwprobe.ask import read_name

if TYPE_CHECKING:
    from localfirst.hwprobe.host import Host

_MARKS = (("/.dockerenv", "docker"), ("/run/.containerenv", "podman"))
_GROUPS = (("docker", "docker"), ("kubepods", "kubernetes"), ("libpod", "podman"), ("lxc", "lxc"))
"""Parts of a control group's path. Source: the default cgroup parents of Docker, the kubelet, Podman and LXC."""


def read_container(host: Host) -> str | None:
    """`docker`, `podman`, `kubernetes`, ...; `None` outside of a container, as far as can be told."""
    for path, name in _MARKS:
        if host.exists(path):
            return name
    if name_by_systemd := read_name(host, "/run/systemd/container"):  # source: systemd's "Container Interface"
        return name_by_systemd
    groups = host.read("/proc/self/cgroup") or ""
    return next((name for part, name in _GROUPS if part in groups), None)


def read_wsl(host: Host) -> bool:
    """Whether this Linux runs inside Windows (WSL 1 or 2); its kernels carry Microsoft's name in their release."""
    return "microsoft" in (host.read("/proc/sys/kernel/osrelease") or host.read("/proc/version") or "").lower()
