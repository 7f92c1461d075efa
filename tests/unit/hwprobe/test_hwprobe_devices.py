"""Devices that are there but broken, hidden, odd or old: what is reported, and why it is not usable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localfirst.hwprobe.host import ReplayHost
from localfirst.hwprobe.npu import UNPROVEN
from localfirst.hwprobe.probe import probe
from localfirst.hwprobe.windows import DISPLAY_CLASS, NPU_CLASS
from localfirst.types import Device
from localfirst.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMINFO = {"/proc/meminfo": f"MemTotal: {64 * MIB} kB\nMemAvailable: {48 * MIB} kB\n"}  # 64 and 48 GiB
CARD = "/sys/class/drm/card0/device"
NODES = {f"{CARD}/drm/renderD128/dev": "226:128", "/dev/dri/renderD128": ""}
ACCEL = "/sys/class/accel/accel0/device"
QUERY = "index,name,memory.total,memory.free,compute_cap,driver_version"
SMI = f"nvidia-smi --query-gpu={QUERY} --format=csv,noheader,nounits"


def linux(files: dict[str, str], **parts: Any) -> ReplayHost:
    record = {"schema": "lf.machine-record/1", "platform": "linux", "machine": "x86_64"}
    return ReplayHost({**record, "files": {**MEMINFO, **files}, **parts})


def card(vendor: str, device: str, driver: str | None, files: dict[str, str], closed: Sequence[str] = ()) -> ReplayHost:
    links = {f"{CARD}/driver": f"../../bus/pci/drivers/{driver}"} if driver else {}
    files = {f"{CARD}/vendor": vendor, f"{CARD}/device": device, **files}
    return linux(files, links=links, values={"linux.closed_nodes": list(closed)})


def windows(display: dict[str, Any], npu: dict[str, Any], **parts: Any) -> ReplayHost:
    record = {"schema": "lf.machine-record/1", "platform": "win32", "machine": "AMD64"}
    return ReplayHost({**record, "registry": {DISPLAY_CLASS: display, NPU_CLASS: npu}, **parts})


def mac(sysctl: dict[str, Any], values: dict[str, Any]) -> ReplayHost:
    record = {"schema": "lf.machine-record/1", "platform": "darwin", "machine": "arm64"}
    return ReplayHost({**record, "sysctl": sysctl, "values": values})


def dead_nvidia(name: str, reason: str, gb_per_s: int | None = None) -> Device:
    bandwidth = None if gb_per_s is None else gb_per_s * 10**9
    return Device("gpu", "nvidia", name, usable=False, reason=reason, bandwidth_bytes_per_s=bandwidth)


SMI_MISSING = "nvidia-smi is not there: NVIDIA's driver is not installed, or not visible here"
PROC_GPU = {
    "/proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA GeForce RTX 3090\nIRQ:   \t\t 98\n"
}

LINUX = {
    "a container that was given no GPU": (
        linux(PROC_GPU),
        (dead_nvidia("NVIDIA GeForce RTX 3090", SMI_MISSING, 936),),
    ),
    "a driver that does not match its kernel module": (
        linux(
            PROC_GPU,
            commands={SMI: {"rc": 18, "stdout": "Failed to initialize NVML: Driver/library version mismatch\n"}},
        ),
        (
            dead_nvidia(
                "NVIDIA GeForce RTX 3090",
                "nvidia-smi failed with status 18: Failed to initialize NVML: Driver/library version mismatch",
                936,
            ),
        ),
    ),
    "nvidia-smi hangs": (
        linux(PROC_GPU, commands={SMI: {"rc": None}}),
        (dead_nvidia("NVIDIA GeForce RTX 3090", "nvidia-smi did not answer in time", 936),),
    ),
    "an NVIDIA card with the free driver": (
        card("0x10de", "0x2684", "nouveau", NODES),
        (dead_nvidia("NVIDIA GPU [10de:2684]", SMI_MISSING),),
    ),
    "one good line and one bad": (
        linux({}, commands={SMI: {"rc": 0, "stdout": "garbage\n\n1, NVIDIA L4, 23034, 22000, 8.9, 550.54\n"}}),
        (
            Device(
                "gpu",
                "nvidia",
                "NVIDIA L4",
                23034 * MIB,
                22000 * MIB,
                driver="550.54",
                compute_capability="8.9",
                bandwidth_bytes_per_s=300_000_000_000,
            ),
        ),
    ),
    "an integrated AMD GPU in a sandbox": (
        card(
            "0x1002",
            "0x1586",
            "amdgpu",
            {
                f"{CARD}/mem_info_vram_total": str(4 * GIB),
                f"{CARD}/mem_info_gtt_total": str(96 * GIB),
                f"{CARD}/drm/renderD128/dev": "226:128",
            },
        ),
        (
            Device(
                "igpu",
                "amd",
                "AMD Radeon (Strix Halo) [1002:1586]",
                100 * GIB,
                unified=True,
                usable=False,
                reason="/dev/dri/renderD128 is missing or hidden",
                driver="amdgpu",
            ),
        ),
    ),
    "an integrated AMD GPU whose translation table is larger than free memory": (
        card(
            "0x1002",
            "0x1586",
            "amdgpu",
            {
                **NODES,
                f"{CARD}/mem_info_vram_total": str(1 * GIB),
                f"{CARD}/mem_info_vram_used": str(GIB // 4),
                f"{CARD}/mem_info_gtt_total": str(60 * GIB),
                f"{CARD}/mem_info_gtt_used": "0",
            },
        ),
        (
            Device(
                "igpu",
                "amd",
                "AMD Radeon (Strix Halo) [1002:1586]",
                61 * GIB,
                48 * GIB + GIB * 3 // 4,
                unified=True,
                reason="1024 MiB set aside in firmware and up to 61440 MiB of main memory (GTT); "
                "ROCm is not usable here: /dev/kfd is missing or hidden",
                driver="amdgpu",
            ),
        ),
    ),
    "an integrated AMD GPU with most memory set aside is a pool of its own": (
        card(
            "0x1002",
            "0x1586",
            "amdgpu",
            {
                **NODES,
                "/dev/kfd": "",
                f"{CARD}/mem_info_vram_total": str(96 * GIB),
                f"{CARD}/mem_info_vram_used": str(GIB),
                f"{CARD}/mem_info_gtt_total": str(15 * GIB),
            },
        ),
        (Device("igpu", "amd", "AMD Radeon (Strix Halo) [1002:1586]", 96 * GIB, 95 * GIB, driver="amdgpu"),),
    ),
    "a discrete AMD card with the name that libdrm knows": (
        card(
            "0x1002",
            "0x744c",
            "amdgpu",
            {
                **NODES,
                "/dev/kfd": "",
                "/usr/share/libdrm/amdgpu.ids": "744C,\tC8,\tAMD Radeon RX 7900 XTX\n",
                f"{CARD}/revision": "0xc8\n",
                f"{CARD}/board_info": "type : cem\n",
                f"{CARD}/mem_info_vram_total": str(24 * GIB),
                f"{CARD}/mem_info_vram_used": str(2 * GIB),
                f"{CARD}/mem_info_gtt_total": str(32 * GIB),
            },
        ),
        (
            Device(
                "gpu",
                "amd",
                "AMD Radeon RX 7900 XTX",
                24 * GIB,
                22 * GIB,
                driver="amdgpu",
                bandwidth_bytes_per_s=960_000_000_000,
            ),
        ),
    ),
    "an AMD card whose nodes belong to a group that this user is not in": (
        card("0x1002", "0x744c", "amdgpu", {**NODES, "/dev/kfd": ""}, closed=["/dev/dri/renderD128", "/dev/kfd"]),
        (
            Device(
                "gpu",
                "amd",
                "AMD GPU [1002:744c]",
                usable=False,
                reason="/dev/dri/renderD128 is closed to this user: "
                "type `sudo usermod -aG render $USER` and log in again",
                driver="amdgpu",
            ),
        ),
    ),
    "an AMD card that Vulkan can use and ROCm cannot": (
        card("0x1002", "0x744c", "amdgpu", {**NODES, "/dev/kfd": ""}, closed=["/dev/kfd"]),
        (
            Device(
                "gpu",
                "amd",
                "AMD GPU [1002:744c]",
                reason="ROCm is not usable here: /dev/kfd is closed to this user: "
                "type `sudo usermod -aG render $USER` and log in again",
                driver="amdgpu",
            ),
        ),
    ),
    "an AMD card with the old driver": (
        card("0x1002", "0x6798", "radeon", NODES),
        (
            Device(
                "gpu",
                "amd",
                "AMD GPU [1002:6798]",
                usable=False,
                reason="driven by radeon, not by amdgpu",
                driver="radeon",
            ),
        ),
    ),
    "an Intel card whose tiles tell their memory": (
        card("0x8086", "0x56a0", "xe", {**NODES, f"{CARD}/tile0/physical_vram_size_bytes": str(16 * GIB)}),
        (Device("gpu", "intel", "Intel Arc A770", 16 * GIB, driver="xe", bandwidth_bytes_per_s=560_000_000_000),),
    ),
    "an Intel card with i915": (
        card("0x8086", "0x56a5", "i915", {**NODES, "/sys/class/drm/card0/lmem_total_bytes": str(6 * GIB)}),
        (Device("gpu", "intel", "Intel Arc A380", 6 * GIB, driver="i915", bandwidth_bytes_per_s=186_000_000_000),),
    ),
    "an Intel card on a kernel that tells no size": (
        card("0x8086", "0xe20b", "xe", NODES),
        (
            Device(
                "gpu",
                "intel",
                "Intel Arc B580",
                reason="this kernel does not tell the size of its memory",
                driver="xe",
                bandwidth_bytes_per_s=456_000_000_000,
            ),
        ),
    ),
    "an Intel GPU without a driver": (
        card("0x8086", "0x9a49", None, NODES),
        (
            Device(
                "igpu",
                "intel",
                "Intel Graphics [8086:9a49]",
                64 * GIB,
                48 * GIB,
                unified=True,
                usable=False,
                reason="neither xe nor i915 is loaded",
            ),
        ),
    ),
    "a card of another maker": (card("0x1af4", "0x1050", "virtio-pci", NODES), ()),
    "an NPU whose node is hidden": (
        linux({}, links={f"{ACCEL}/driver": "../amdxdna"}),
        (
            Device(
                "npu",
                "amd",
                "AMD Ryzen AI NPU",
                unified=True,
                usable=False,
                reason="/dev/accel/accel0 is missing or hidden",
                driver="amdxdna",
            ),
        ),
    ),
    "an NPU whose node is closed": (
        linux(
            {"/dev/accel/accel0": ""},
            links={f"{ACCEL}/driver": "../intel_vpu"},
            values={"linux.closed_nodes": ["/dev/accel/accel0"]},
        ),
        (
            Device(
                "npu",
                "intel",
                "Intel AI Boost",
                unified=True,
                usable=False,
                reason="/dev/accel/accel0 is closed to this user: "
                "type `sudo usermod -aG render $USER` and log in again",
                driver="intel_vpu",
            ),
        ),
    ),
    "an NPU inside WSL": (
        linux(
            {"/proc/sys/kernel/osrelease": "5.15.0-microsoft-standard-WSL2\n", "/dev/accel/accel0": ""},
            links={f"{ACCEL}/driver": "../intel_vpu"},
        ),
        (
            Device(
                "npu",
                "intel",
                "Intel AI Boost",
                unified=True,
                usable=False,
                reason="not usable from WSL",
                driver="intel_vpu",
            ),
        ),
    ),
    "an accelerator nobody knows": (
        linux({"/dev/accel/accel0": ""}, links={f"{ACCEL}/driver": "../newthing"}),
        (Device("npu", "unknown", "Accelerator (newthing)", unified=True, reason=UNPROVEN, driver="newthing"),),
    ),
}


@pytest.mark.parametrize(("host", "devices"), LINUX.values(), ids=LINUX)
def test_devices_on_linux(host: ReplayHost, devices: tuple[Device, ...]) -> None:
    assert probe(host).devices == devices


def test_cards_come_in_the_kernels_order_discrete_ones_first_and_connectors_are_none() -> None:
    files = {}
    for name, device_id in (("card10", "0x56a1"), ("card2", "0x56a0"), ("card1", "0x64a0"), ("card1-DP-1", "0x64a0")):
        files[f"/sys/class/drm/{name}/device/vendor"] = "0x8086\n"
        files[f"/sys/class/drm/{name}/device/device"] = device_id
    names = [device.name for device in probe(linux(files)).devices]
    assert names == ["Intel Arc A770", "Intel Arc A750", "Intel Arc Graphics (Lunar Lake)"]


def test_a_command_that_fails_and_a_garbled_line_are_warnings() -> None:
    failed = linux({}, commands={SMI: {"rc": 9, "stdout": "", "stderr": "no driver\n"}})
    garbled = linux({}, commands={SMI: {"rc": 0, "stdout": "No devices were found\n"}})
    assert probe(failed).warnings == ("nvidia-smi failed with status 9: no driver",)
    assert probe(garbled).warnings == ("nvidia-smi: not a line of nvidia-smi: 'No devices were found'",)


def test_a_machine_without_a_sign_of_nvidia_does_not_ask_for_it() -> None:
    class Counting(ReplayHost):
        asked = 0

        def has_recorded(self, command: str) -> bool:  # noqa: ARG002
            return False

        def run(self, argv: Any) -> None:  # noqa: ARG002
            self.asked += 1

    record = {"schema": "lf.machine-record/1", "platform": "linux", "machine": "x86_64"}
    silent = Counting(record)
    signed = Counting({**record, "files": {"/dev/nvidia0": ""}})
    assert (probe(silent).devices, silent.asked) == ((), 0)
    assert (probe(signed).devices, signed.asked) == ((), 2)


RTX = {"DriverDesc": "NVIDIA GeForce RTX 3070", "MatchingDeviceId": "PCI\\VEN_10DE&DEV_2484"}

WINDOWS = {
    "an adapter left behind by a removed card": (
        windows({"0000": RTX}, {}),
        (dead_nvidia("NVIDIA GeForce RTX 3070", SMI_MISSING, 448),),
        (),
    ),
    "cards that were taken out, known by what is there": (
        windows(
            {
                "0000": RTX,
                "0001": {"DriverDesc": "AMD Radeon RX 580", "MatchingDeviceId": "PCI\\VEN_1002&DEV_67DF&REV_E7"},
                "0002": {"DriverDesc": "AMD Radeon RX 6600", "MatchingDeviceId": "pci\\ven_1002&dev_73ff"},
                "0003": {"DriverDesc": "Adreno GPU", "MatchingDeviceId": "ACPI\\VEN_QCOM&DEV_0C36"},
            },
            {"0000": {"DriverDesc": "AMD IPU Device", "MatchingDeviceId": "PCI\\VEN_1022&DEV_1502"}},
            values={
                "windows.present_devices": {
                    DISPLAY_CLASS: ["PCI\\VEN_1002&DEV_73FF&SUBSYS_65051462&REV_C7", "ACPI\\QCOM0C36"],
                    NPU_CLASS: [],
                }
            },
        ),
        (
            Device("gpu", "amd", "AMD Radeon RX 6600", bandwidth_bytes_per_s=224_000_000_000),
            Device("igpu", "qualcomm", "Adreno GPU", unified=True),
        ),
        (),
    ),
    "a discrete card above 4 GiB": (
        windows(
            {
                "0000": {
                    "DriverDesc": "AMD Radeon RX 9070",
                    "DriverVersion": "32.0.1",
                    "MatchingDeviceId": "PCI\\VEN_1002&DEV_7550",
                    "HardwareInformation.AdapterRAM": 4293918720,
                    "HardwareInformation.qwMemorySize": {"hex": (17095983104).to_bytes(8, "little").hex()},
                }
            },
            {},
        ),
        (
            Device(
                "gpu",
                "amd",
                "AMD Radeon RX 9070",
                17095983104,
                driver="32.0.1",
                bandwidth_bytes_per_s=640_000_000_000,
            ),
        ),
        (),
    ),
    "adapters that are no hardware, and garbled ones": (
        windows(
            {
                "0000": {"DriverDesc": "Microsoft Basic Render Driver"},
                "0001": {"DriverDesc": "Thing", "MatchingDeviceId": "ROOT\\DISPLAY\\0000"},
                "0002": {"DriverDesc": 7, "HardwareInformation.qwMemorySize": "many"},
                "0003": {"DriverDesc": "AMD Radeon RX 6600", "HardwareInformation.qwMemorySize": "many"},
            },
            {},
        ),
        (Device("gpu", "amd", "AMD Radeon RX 6600", bandwidth_bytes_per_s=224_000_000_000),),
        ("AMD Radeon RX 6600: HardwareInformation.qwMemorySize: not a size: 'many'",),
    ),
    "an NPU with a driver that is too old": (
        windows({}, {"0000": {"DriverDesc": "Qualcomm(R) Hexagon(TM) NPU", "DriverVersion": "30.0.31.250"}}),
        (
            Device(
                "npu",
                "qualcomm",
                "Qualcomm(R) Hexagon(TM) NPU",
                unified=True,
                usable=False,
                reason="its driver is older than 30.0.140.0, which the QNN provider needs",
                driver="30.0.31.250",
            ),
        ),
        (),
    ),
    "an NPU with a garbled version": (
        windows({}, {"0000": {"DriverDesc": "Qualcomm NPU", "DriverVersion": "new"}, "0001": {"DriverDesc": ""}}),
        (Device("npu", "qualcomm", "Qualcomm NPU", unified=True, reason=UNPROVEN, driver="new"),),
        ("Qualcomm NPU: not a version: 'new'",),
    ),
}


@pytest.mark.parametrize(("host", "devices", "warnings"), WINDOWS.values(), ids=WINDOWS)
def test_devices_on_windows(host: ReplayHost, devices: tuple[Device, ...], warnings: tuple[str, ...]) -> None:
    machine = probe(host)
    assert (machine.devices, machine.warnings) == (devices, warnings)


WORKING_SETS = {
    "asked of Metal": (8 * GIB, 0, 5726633984, (5726633984, None)),
    "set by the owner": (64 * GIB, 57344, None, (56 * GIB, "limit from iogpu.wired_limit_mb")),
    "estimated for a small Mac": (
        9_000_000_000,
        0,
        None,
        (6_000_000_000, "estimated as 2/3 of main memory: Metal did not answer"),
    ),
    "estimated for a large Mac": (
        64 * GIB,
        None,
        "?",
        (48 * GIB, "estimated as 3/4 of main memory: Metal did not answer"),
    ),
    "unknown": (None, None, None, (None, None)),
}


@pytest.mark.parametrize(("size", "wired_mib", "metal", "expected"), WORKING_SETS.values(), ids=WORKING_SETS)
def test_the_working_set_of_an_apple_gpu(
    size: int | None, wired_mib: int | None, metal: object, expected: tuple[int | None, str | None]
) -> None:
    sysctl = {"machdep.cpu.brand_string": "Apple M1", "hw.memsize": size, "iogpu.wired_limit_mb": wired_mib}
    known = {name: value for name, value in sysctl.items() if value is not None}
    gpu = probe(mac(known, {"metal.recommended_max_working_set_size": metal})).devices[0]
    assert (gpu.memory_total_bytes, gpu.reason) == expected


def test_a_mac_with_an_intel_processor_has_no_apple_devices() -> None:
    assert probe(mac({"machdep.cpu.brand_string": "Intel(R) Core(TM) i9"}, {})).devices == ()
