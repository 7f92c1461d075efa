"""The pure parsers on captured lines, edge by edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.hwprobe import bandwidth, windows
from localfirst.hwprobe.amd import is_integrated, parse_name
from localfirst.hwprobe.cgroup import find_levels, parse_cgroups, parse_cpu_max
from localfirst.hwprobe.cpu import find_usable_cores
from localfirst.hwprobe.cpuinfo import CpuInfo, Processor, parse_cpuinfo
from localfirst.hwprobe.memory import parse_meminfo
from localfirst.hwprobe.nvidia import parse_gpu
from localfirst.hwprobe.text import clean, parse_cpu_list, parse_int, parse_version
from localfirst.types import Device, Memory
from localfirst.units import GIB, MIB

MEMORY = Memory(128 * GIB, 100 * GIB, None)


@pytest.mark.parametrize(
    ("text", "number"), [("0\n", 0), (" 4096 ", 4096), ("0x1002\n", 0x1002), ("0XfF", 255), (str(2**63 - 1), 2**63 - 1)]
)
def test_numbers_of_sysfs_are_read(text: str, number: int) -> None:
    assert parse_int(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "max", "1 2", "1_000", "٣", "0x", str(2**63), "9" * 5000, "1\0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_int(text)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8,10-11\n", {0, 1, 2, 3, 8, 10, 11}), ("\n", set()), ("5", {5}), ("0-0", {0})],
)
def test_cpu_lists_are_read(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["3-0", "0-", "-1", "a", "0-99999999999", "0,,1", "65536"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_cpu_list(text)


@given(st.frozensets(st.integers(0, 65_535), max_size=50))
def test_any_set_of_cpus_survives_its_text(cpus: frozenset[int]) -> None:
    assert parse_cpu_list(",".join(map(str, cpus))) == cpus


def test_versions_compare_by_number() -> None:
    assert parse_version("30.0.219.1000") > parse_version("30.0.140.0") > parse_version("30.0.9.9")


@given(st.text(max_size=2000))
def test_cleaned_text_is_one_short_printable_line(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == clean(cleaned)
    assert len(cleaned) <= 120
    assert cleaned.isprintable()


def test_meminfo_is_in_kibibytes() -> None:
    text = "MemTotal:       24683668 kB\nMemAvailable:   24229580 kB\nHugePages_Total:       0\n"
    assert parse_meminfo(text) == {"MemTotal": 24683668 * 1024, "MemAvailable": 24229580 * 1024}


@pytest.mark.parametrize("line", ["MemTotal: 12", "MemTotal: 12 MB", "MemTotal: -1 kB", "MemFree:", "MemTotal: ٣ kB"])
def test_a_garbled_row_of_meminfo_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a number of kB"):
        parse_meminfo(line)


def test_control_groups_of_both_versions_are_read() -> None:
    text = "5:memory:/docker/ab\n4:cpu,cpuacct:/x:y\n1:name=systemd:/\n0::/a/b.scope\ngarbage\n:::\n9:memory:relative\n"
    assert parse_cgroups(text) == {
        "memory": "/docker/ab",
        "cpu": "/x:y",
        "cpuacct": "/x:y",
        "name=systemd": "/",
        "": "/a/b.scope",
    }


@pytest.mark.parametrize(
    ("path", "levels"),
    [
        ("/", ("/m",)),
        ("/a/b", ("/m/a/b", "/m/a", "/m")),
        ("/../../host.slice", ("/m/host.slice", "/m")),
    ],
)
def test_a_group_is_bound_by_all_its_ancestors(path: str, levels: tuple[str, ...]) -> None:
    assert find_levels("/m", path) == levels


@pytest.mark.parametrize(("text", "cpus"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("max", None)])
def test_cpu_quotas_are_read(text: str, cpus: float | None) -> None:
    assert parse_cpu_max(text) == cpus


@pytest.mark.parametrize("text", ["", "1", "0 100000", "1 0", "a b"])
def test_what_is_no_cpu_quota_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_cpu_max(text)


SMT = tuple(Processor(number, ("0", str(number % 4)), None) for number in range(8))
BIG_LITTLE = tuple(
    Processor(number, ("", str(number)), ("0x41", "0xd0b" if number > 3 else "0xd05")) for number in range(8)
)
USABLE = {
    "threads share a core": (SMT, {}, 4),
    "affinity to two threads of one core": (SMT, {"allowed": frozenset({0, 4})}, 1),
    "affinity to processors that are off line": (SMT, {"allowed": frozenset({64})}, 4),
    "fast cores only": (SMT, {"performance": frozenset({0, 1, 4, 5})}, 2),
    "affinity to slow cores only": (SMT, {"allowed": frozenset({2}), "performance": frozenset({0})}, 1),
    "a part of a core is not used": (SMT, {"quota": 2.9}, 2),
    "at least one": (SMT, {"quota": 0.1}, 1),
    "little cores of an Arm chip": (BIG_LITTLE, {}, 4),
    "nothing but little cores allowed": (BIG_LITTLE, {"allowed": frozenset({0, 1})}, 2),
    "unknown": ((), {"quota": 2.0}, None),
}


@pytest.mark.parametrize(("processors", "limits", "cores"), USABLE.values(), ids=USABLE)
def test_usable_cores(processors: tuple[Processor, ...], limits: dict[str, object], cores: int | None) -> None:
    assert find_usable_cores(processors, **limits) == cores


@given(st.integers(1, 64), st.floats(0.01, 100), st.frozensets(st.integers(0, 63), max_size=64))
def test_limits_never_add_cores_and_always_leave_one(count: int, quota: float, allowed: frozenset[int]) -> None:
    processors = tuple(Processor(number, ("0", str(number)), None) for number in range(count))
    cores = find_usable_cores(processors, allowed=allowed, quota=quota)
    assert cores is not None
    assert 1 <= cores <= count


def test_cpuinfo_of_a_big_little_board() -> None:
    block = "processor\t: {}\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"
    text = block.format(0, "0xd05") + block.format(1, "0xd0b") + block.format(2, "0xfff")
    assert parse_cpuinfo(text) == CpuInfo(
        processors=(
            Processor(0, ("", "0"), ("0x41", "0xd05")),
            Processor(1, ("", "1"), ("0x41", "0xd0b")),
            Processor(2, ("", "2"), ("0x41", "0xfff")),
        ),
        name="Cortex-A55 + Cortex-A76 + Arm 0x41/0xfff",
        features=("neon", "dotprod"),
    )


def test_cpuinfo_of_an_unknown_architecture_counts_processors() -> None:
    text = "processor\t: 0\nhart\t\t: 2\nisa\t\t: rv64imafdc\n\nprocessor\t: 1\nhart\t\t: 1\n"
    assert parse_cpuinfo(text) == CpuInfo((Processor(0, ("", "0"), None), Processor(1, ("", "1"), None)))


SMI_LINES = {
    "full": (
        "0, NVIDIA GeForce RTX 3090, 24576, 24000, 8.6, 550.54",
        Device(
            "gpu",
            "nvidia",
            "NVIDIA GeForce RTX 3090",
            24576 * MIB,
            24000 * MIB,
            driver="550.54",
            compute_capability="8.6",
        ),
    ),
    "no compute capability": (
        "0, Tesla K80, 11441, 11000, 470.256.02",
        Device("gpu", "nvidia", "Tesla K80", 11441 * MIB, 11000 * MIB, driver="470.256.02"),
    ),
    "memory of the machine": (
        "0, NVIDIA Thor, [N/A], [N/A], 11.0, 580.00",
        Device(
            "igpu",
            "nvidia",
            "NVIDIA Thor",
            MEMORY.total_bytes,
            MEMORY.available_bytes,
            unified=True,
            driver="580.00",
            compute_capability="11.0",
        ),
    ),
    "free memory withheld": (
        "0, NVIDIA A100, 81920, [Insufficient Permissions], [N/A], 550.54",
        Device("gpu", "nvidia", "NVIDIA A100", 81920 * MIB, driver="550.54"),
    ),
}


@pytest.mark.parametrize(("line", "device"), SMI_LINES.values(), ids=SMI_LINES)
def test_a_line_of_nvidia_smi(line: str, device: Device) -> None:
    assert parse_gpu(line, MEMORY) == device


@pytest.mark.parametrize(
    "line", ["No devices were found", "0, , 1, 1, 8.6, 1", "0, X, lots, 1, 8.6, 1", "a,b,c,d,e,f,g"]
)
def test_another_line_of_nvidia_smi_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_gpu(line, MEMORY)


INTEGRATED_AMD = {
    "known chip with a large carve-out": (("1586", False, 96 * GIB, 15 * GIB), True),
    "board of its own": (("744c", True, 24 * GIB, 32 * GIB), False),
    "small board on an old kernel": (("743f", False, 4 * GIB, 8 * GIB), False),
    "unknown chip with little memory": (("1234", False, 512 * MIB, 15 * GIB), True),
    "nothing known": (("1234", False, None, None), False),
}


@pytest.mark.parametrize(("facts", "integrated"), INTEGRATED_AMD.values(), ids=INTEGRATED_AMD)
def test_which_amd_gpus_share_main_memory(facts: tuple[str, bool, int | None, int | None], integrated: bool) -> None:
    device_id, board_info, vram, gtt = facts
    assert is_integrated(device_id, board_info=board_info, vram_bytes=vram, gtt_bytes=gtt) == integrated


@pytest.mark.parametrize(
    ("device_id", "revision", "name"),
    [
        ("744c", "c8", "AMD Radeon RX 7900 XTX"),
        ("744c", "cc", "AMD Radeon RX 7900 XT"),
        ("744c", None, None),
        ("1", "1", None),
    ],
)
def test_amd_names_are_found_by_device_and_revision(device_id: str, revision: str | None, name: str | None) -> None:
    ids = "# comment, with, commas\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n"
    assert parse_name(ids, device_id, revision) == name


@pytest.mark.parametrize(
    ("vendor", "name", "integrated"),
    [
        ("amd", "AMD Radeon 780M Graphics", True),
        ("amd", "AMD Radeon(TM) Graphics", True),
        ("amd", "AMD Radeon(TM) RX Vega 11 Graphics", True),
        ("amd", "AMD Radeon 610M", True),
        ("amd", "AMD Radeon RX 9070", False),
        ("amd", "AMD Radeon Pro W7900", False),
        ("intel", "Intel(R) Arc(TM) 140V GPU (16GB)", True),
        ("intel", "Intel(R) Iris(R) Xe Graphics", True),
        ("intel", "Intel(R) Arc(TM) A770 Graphics", False),
        ("intel", "Intel(R) Arc(TM) B580 Graphics", False),
        ("intel", "Intel(R) Arc(TM) A370M Graphics", False),
        ("qualcomm", "Qualcomm(R) Adreno(TM) X1-85 GPU", True),
        ("unknown", "Something", False),
    ],
)
def test_which_windows_adapters_share_main_memory(vendor: str, name: str, integrated: bool) -> None:
    assert windows.is_integrated(vendor, name) == integrated


@pytest.mark.parametrize(
    ("hardware_id", "name", "vendor"),
    [
        ("PCI\\VEN_10DE&DEV_2684", "whatever", "nvidia"),
        ("pci\\ven_1002&dev_744c", "whatever", "amd"),
        ("ACPI\\VEN_QCOM&DEV_0C36", "whatever", "qualcomm"),
        ("", "Intel(R) AI Boost", "intel"),
        ("", "Radeon", "amd"),
        ("USB\\VID_1234", "A card", "unknown"),
    ],
)
def test_who_made_a_windows_adapter(hardware_id: str, name: str, vendor: str) -> None:
    assert windows.find_vendor(hardware_id, name) == vendor


@pytest.mark.parametrize(
    ("value", "size"),
    [(17095983104, 17095983104), (bytes.fromhex("0000c0ff01000000"), 8585740288), (0, None), (None, None), (b"", None)],
)
def test_adapter_memory_is_the_64_bit_number(value: object, size: int | None) -> None:
    assert windows.parse_memory_size(value) == size


@pytest.mark.parametrize("value", ["1073741824", -1, True, 2**64, b"\0" * 9, [1]])
def test_adapter_memory_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        windows.parse_memory_size(value)


@pytest.mark.parametrize(
    ("name", "memory_gib", "gb_per_s"),
    [
        ("NVIDIA GeForce RTX 5090", 32, 1792),
        ("NVIDIA GeForce RTX 4080", 16, 716.8),
        ("NVIDIA GeForce RTX 3080", 10, 760),
        ("NVIDIA GeForce RTX 3080", 12, 912),
        ("NVIDIA GeForce RTX 3060", 8, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16, None),
        ("NVIDIA H100 80GB HBM3", 80, 3350),
        ("AMD Radeon RX 7900 XTX", 24, 960),
        ("AMD Radeon(TM) 8060S Graphics", 96, 256),
        ("Intel(R) Arc(TM) B580 Graphics", 12, 456),
        ("Intel(R) Arc(TM) A770 Graphics", None, None),
        ("", None, None),
    ],
)
def test_bandwidth_by_name(name: str, memory_gib: int | None, gb_per_s: float | None) -> None:
    size = memory_gib * GIB if memory_gib else None
    assert bandwidth.find_bandwidth(name, size) == (None if gb_per_s is None else round(gb_per_s * 10**9))


@pytest.mark.parametrize(
    ("chip", "cores", "gb_per_s"),
    [
        ("Apple M2", 4, 100),
        ("Apple M4 Max", 10, 410),
        ("Apple M4 Max", 12, 546),
        ("Apple M4 Max", None, None),
        ("Apple M9", 4, None),
    ],
)
def test_bandwidth_of_apple_chips(chip: str, cores: int | None, gb_per_s: int | None) -> None:
    assert bandwidth.find_apple_bandwidth(chip, cores) == (None if gb_per_s is None else gb_per_s * 10**9)
