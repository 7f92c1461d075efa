"""Memory and CPU limits of containers, in every place where they hide."""

from __future__ import annotations

import pytest

from localfirst.hwprobe.host import ReplayHost
from localfirst.hwprobe.probe import probe
from localfirst.types import Memory
from localfirst.units import GIB

MEMINFO = f"MemTotal: {64 * GIB >> 10} kB\nMemFree: 1048576 kB\nMemAvailable: {48 * GIB >> 10} kB\nCached: 1048576 kB\n"
V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"
CPUS = "".join(f"processor\t: {n}\nphysical id\t: 0\ncore id\t\t: {n}\n\n" for n in range(16))


def linux(files: dict[str, str]) -> ReplayHost:
    return ReplayHost(
        {
            "schema": "lf.machine-record/1",
            "platform": "linux",
            "machine": "x86_64",
            "files": {"/proc/meminfo": MEMINFO, "/proc/cpuinfo": CPUS, **files},
        }
    )


def v2(path: str, **files: str) -> dict[str, str]:
    """A group's files; `_` stands for the dot in their names."""
    return {f"{V2}{path}/{name.replace('_', '.', 1)}": text for name, text in files.items()}


MEMORIES = {
    "no group at all": ({}, Memory(64 * GIB, 48 * GIB, None)),
    "no limit": ({"/proc/self/cgroup": "0::/a\n", **v2("/a", memory_max="max\n")}, Memory(64 * GIB, 48 * GIB, None)),
    "an ancestor's limit": (
        {
            "/proc/self/cgroup": "0::/a/b\n",
            **v2("/a/b", memory_max=f"{32 * GIB}\n", memory_current="0\n"),
            **v2("/a", memory_max=f"{16 * GIB}\n", memory_current=f"{4 * GIB}\n"),
        },
        Memory(64 * GIB, 12 * GIB, 16 * GIB),
    ),
    "a wide limit that is nearly used up binds before a narrow one": (
        {
            "/proc/self/cgroup": "0::/a/b\n",
            **v2("/a/b", memory_max=f"{8 * GIB}\n", memory_current="0\n"),
            **v2("/a", memory_max=f"{16 * GIB}\n", memory_current=f"{14 * GIB}\n"),
        },
        Memory(64 * GIB, 2 * GIB, 8 * GIB),
    ),
    "file pages count as free": (
        {
            "/proc/self/cgroup": "0::/\n",
            **v2(
                "",
                memory_max=f"{8 * GIB}\n",
                memory_current=f"{7 * GIB}\n",
                memory_stat=f"anon 1\ninactive_file {5 * GIB}\n",
            ),
        },
        Memory(64 * GIB, 6 * GIB, 8 * GIB),
    ),
    "more used than allowed leaves nothing": (
        {"/proc/self/cgroup": "0::/\n", **v2("", memory_max=f"{GIB}\n", memory_current=f"{2 * GIB}\n")},
        Memory(64 * GIB, 0, GIB),
    ),
    "a limit above the machine's memory is none": (
        {"/proc/self/cgroup": "0::/\n", **v2("", memory_max=f"{100 * GIB}\n", memory_current="0\n")},
        Memory(64 * GIB, 48 * GIB, None),
    ),
    "version 1 without a limit": (
        {"/proc/self/cgroup": "4:memory:/x\n", f"{V1}/x/memory.limit_in_bytes": "9223372036854771712\n"},
        Memory(64 * GIB, 48 * GIB, None),
    ),
    "version 1 without a limit, where the machine says nothing else": (
        {
            "/proc/meminfo": "",
            "/proc/self/cgroup": "4:memory:/x\n",
            f"{V1}/x/memory.limit_in_bytes": "9223372036854771712\n",
        },
        Memory(None, None, None),
    ),
    "both versions at once": (
        {
            "/proc/self/cgroup": "4:memory:/x\n0::/y\n",
            f"{V1}/x/memory.limit_in_bytes": f"{4 * GIB}\n",
            f"{V1}/x/memory.usage_in_bytes": f"{GIB}\n",
            **v2("/y", memory_max=f"{2 * GIB}\n", memory_current="0\n"),
        },
        Memory(64 * GIB, 2 * GIB, 2 * GIB),
    ),
    "an old kernel without MemAvailable": (
        {"/proc/meminfo": "MemTotal: 4194304 kB\nMemFree: 1024 kB\nBuffers: 1024 kB\nCached: 2048 kB\n"},
        Memory(4 * GIB, 4096 << 10, None),
    ),
    "a limit where the machine says nothing else": (
        {"/proc/meminfo": "", "/proc/self/cgroup": "0::/\n", **v2("", memory_max="1024\n", memory_current="24\n")},
        Memory(None, 1000, 1024),
    ),
}


@pytest.mark.parametrize(("files", "memory"), MEMORIES.values(), ids=MEMORIES)
def test_memory(files: dict[str, str], memory: Memory) -> None:
    machine = probe(linux(files))
    assert (machine.memory, machine.warnings) == (memory, ())


QUOTAS = {
    "none": ({"/proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, 16),
    "an ancestor's": (
        {"/proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/cpu.max": "max 100000\n", f"{V2}/a/cpu.max": "350000 100000\n"},
        3,
    ),
    "version 1": (
        {
            "/proc/self/cgroup": "2:cpu,cpuacct:/x\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "affinity": ({"/proc/self/status": "Cpus_allowed:\tff\nCpus_allowed_list:\t0-2,9\n"}, 4),
    "affinity and quota": (
        {
            "/proc/self/status": "Cpus_allowed_list:\t0-7\n",
            "/proc/self/cgroup": "0::/\n",
            f"{V2}/cpu.max": "1200000 100000\n",
        },
        8,
    ),
}


@pytest.mark.parametrize(("files", "cores"), QUOTAS.values(), ids=QUOTAS)
def test_cores_within_affinity_and_quota(files: dict[str, str], cores: int) -> None:
    cpu = probe(linux(files)).cpu
    assert (cpu.cores_physical, cpu.cores_usable) == (16, cores)


CONTAINERS = {
    "docker": ({"/.dockerenv": ""}, "docker"),
    "podman": ({"/run/.containerenv": "engine=podman"}, "podman"),
    "systemd's": ({"/run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
    "kubernetes": ({"/proc/self/cgroup": "5:memory:/kubepods/besteffort/pod1\n"}, "kubernetes"),
    "none": ({"/proc/self/cgroup": "0::/user.slice\n"}, None),
}


@pytest.mark.parametrize(("files", "container"), CONTAINERS.values(), ids=CONTAINERS)
def test_containers_are_known_by_their_marks(files: dict[str, str], container: str | None) -> None:
    assert probe(linux(files)).container == container


def test_garbled_files_cost_a_warning_each_and_only_their_own_facts() -> None:
    machine = probe(
        linux(
            {
                "/proc/meminfo": "MemTotal: lots\n",
                "/proc/cpuinfo": "nothing of use",
                "/proc/self/status": "Cpus_allowed_list:\tall\n",
                "/proc/self/cgroup": "0::/\n",
                f"{V2}/memory.max": "1 GB\n",
                f"{V2}/cpu.max": "some\n",
                "/sys/devices/cpu_core/cpus": "p-cores\n",
            }
        )
    )
    assert machine.memory == Memory(None, None, None)
    assert machine.warnings == (
        "/proc/cpuinfo: no processor in it",
        "/proc/self/status: not a number: 'all'",
        "/sys/devices/cpu_core/cpus: not a number: 'p'",
        "/sys/fs/cgroup/cpu.max: not a number: 'some'",
        "/proc/meminfo: not a number of kB: 'MemTotal: lots'",
        "/sys/fs/cgroup/memory.max: not a number: '1 GB\\n'",
    )
