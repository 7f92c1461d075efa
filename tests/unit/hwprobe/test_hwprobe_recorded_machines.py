"""Each recorded machine as a whole value: what a change of the probe would change for its owner."""

from __future__ import annotations

import pytest

from localfirst.hwprobe.host import load_record
from localfirst.hwprobe.npu import UNPROVEN
from localfirst.hwprobe.probe import probe
from localfirst.paths import profiles_dir
from localfirst.types import Cpu, Device, Machine, Memory

MACHINES = profiles_dir()

EXPECTED = {
    "cloud-vm-amx": Machine(
        platform="linux",
        cpu=Cpu(
            name="Intel(R) Xeon(R) Processor",
            arch="x86_64",
            cores_physical=2,
            cores_logical=2,
            cores_usable=2,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
                "avx512f",
                "avx512_vnni",
                "avx_vnni",
                "avx512_bf16",
                "amx_int8",
                "amx_bf16",
            ),
        ),
        memory=Memory(total_bytes=25_276_063_744, available_bytes=24_064_000_000, limit_bytes=None),
        container="docker",
        disk_free_bytes=81_000_000_000,
    ),
    "cloud-vm-no-gpu": Machine(
        platform="linux",
        cpu=Cpu(
            name="AMD EPYC",
            arch="x86_64",
            cores_physical=4,
            cores_logical=4,
            cores_usable=4,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
            ),
        ),
        memory=Memory(total_bytes=25_276_076_032, available_bytes=24_811_089_920, limit_bytes=None),
        container="docker",
        disk_free_bytes=81_000_000_000,
    ),
    "copilot-pc-x-elite-16gb": Machine(
        platform="win32",
        cpu=Cpu(
            name="Snapdragon(R) X Elite - X1E78100 - Qualcomm(R) Oryon(TM) CPU",
            arch="arm64",
            cores_physical=12,
            cores_logical=12,
            cores_usable=12,
            features=(
                "neon",
                "dotprod",
                "i8mm",
                "bf16",
            ),
        ),
        memory=Memory(total_bytes=16_849_174_528, available_bytes=9_126_805_504, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="qualcomm",
                name="Qualcomm(R) Adreno(TM) X1-85 GPU",
                memory_total_bytes=8_424_587_264,
                memory_free_bytes=8_424_587_264,
                unified=True,
                reason="estimated as half of main memory",
                driver="31.0.133.1",
            ),
            Device(
                kind="npu",
                vendor="qualcomm",
                name="Snapdragon(R) X Elite - X1E78100 - Qualcomm(R) Hexagon(TM) NPU",
                unified=True,
                reason=UNPROVEN,
                driver="30.0.219.1000",
            ),
        ),
        disk_free_bytes=310_000_000_000,
    ),
    "dgx-spark-gb10": Machine(
        platform="linux",
        cpu=Cpu(
            name="Cortex-A725 + Cortex-X925",
            arch="arm64",
            cores_physical=20,
            cores_logical=20,
            cores_usable=20,
            features=(
                "neon",
                "dotprod",
                "fp16",
                "i8mm",
                "bf16",
                "sve",
                "sve2",
            ),
        ),
        memory=Memory(total_bytes=128_525_533_184, available_bytes=120_832_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="nvidia",
                name="NVIDIA GB10",
                memory_total_bytes=128_525_533_184,
                memory_free_bytes=120_832_000_000,
                unified=True,
                driver="580.95.05",
                compute_capability="12.1",
                bandwidth_bytes_per_s=273_000_000_000,
            ),
        ),
        disk_free_bytes=3_000_000_000_000,
    ),
    "docker-limit-v1": Machine(
        platform="linux",
        cpu=Cpu(
            name="Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz",
            arch="x86_64",
            cores_physical=14,
            cores_logical=28,
            cores_usable=1,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
            ),
        ),
        memory=Memory(total_bytes=67_406_057_472, available_bytes=864_026_624, limit_bytes=1_073_741_824),
        container="docker",
        disk_free_bytes=250_000_000_000,
    ),
    "docker-limit-v2": Machine(
        platform="linux",
        cpu=Cpu(
            name="AMD EPYC 9354 32-Core Processor",
            arch="x86_64",
            cores_physical=32,
            cores_logical=64,
            cores_usable=8,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
                "avx512f",
                "avx512_vnni",
                "avx512_bf16",
            ),
        ),
        memory=Memory(total_bytes=1_081_805_053_952, available_bytes=86_973_087_744, limit_bytes=96_636_764_160),
        container="docker",
        disk_free_bytes=250_000_000_000,
    ),
    "dual-rtx-3090": Machine(
        platform="linux",
        cpu=Cpu(
            name="AMD Ryzen 9 5900X 12-Core Processor",
            arch="x86_64",
            cores_physical=12,
            cores_logical=24,
            cores_usable=12,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
            ),
        ),
        memory=Memory(total_bytes=65_176_129_536, available_bytes=59_392_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="gpu",
                vendor="nvidia",
                name="NVIDIA GeForce RTX 3090",
                memory_total_bytes=25_769_803_776,
                memory_free_bytes=25_165_824_000,
                driver="550.54",
                compute_capability="8.6",
                bandwidth_bytes_per_s=936_000_000_000,
            ),
            Device(
                kind="gpu",
                vendor="nvidia",
                name="NVIDIA GeForce RTX 3090",
                memory_total_bytes=25_769_803_776,
                memory_free_bytes=24_117_248_000,
                driver="550.54",
                compute_capability="8.6",
                bandwidth_bytes_per_s=936_000_000_000,
            ),
        ),
        disk_free_bytes=250_000_000_000,
    ),
    "gtx-1060": Machine(
        platform="linux",
        cpu=Cpu(
            name="Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz",
            arch="x86_64",
            cores_physical=4,
            cores_logical=8,
            cores_usable=4,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
            ),
        ),
        memory=Memory(total_bytes=16_723_587_072, available_bytes=12_288_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="gpu",
                vendor="nvidia",
                name="NVIDIA GeForce GTX 1060 6GB",
                memory_total_bytes=6_442_450_944,
                memory_free_bytes=6_155_141_120,
                driver="470.256.02",
                bandwidth_bytes_per_s=192_000_000_000,
            ),
        ),
        disk_free_bytes=250_000_000_000,
    ),
    "lunar-lake-32gb": Machine(
        platform="linux",
        cpu=Cpu(
            name="Intel(R) Core(TM) Ultra 7 258V",
            arch="x86_64",
            cores_physical=8,
            cores_logical=8,
            cores_usable=4,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
                "avx_vnni",
            ),
        ),
        memory=Memory(total_bytes=33_152_040_960, available_bytes=25_600_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="intel",
                name="Intel Arc Graphics (Lunar Lake)",
                memory_total_bytes=33_152_040_960,
                memory_free_bytes=25_600_000_000,
                unified=True,
                driver="xe",
                bandwidth_bytes_per_s=136_528_000_000,
            ),
            Device(
                kind="npu", vendor="intel", name="Intel AI Boost", unified=True, reason=UNPROVEN, driver="intel_vpu"
            ),
        ),
        disk_free_bytes=250_000_000_000,
    ),
    "mac-studio-m3-ultra-512gb": Machine(
        platform="darwin",
        cpu=Cpu(
            name="Apple M3 Ultra",
            arch="arm64",
            cores_physical=32,
            cores_logical=32,
            cores_usable=24,
            features=(
                "neon",
                "dotprod",
                "fp16",
                "i8mm",
                "bf16",
            ),
        ),
        memory=Memory(total_bytes=549_755_813_888, available_bytes=522_000_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="apple",
                name="Apple M3 Ultra",
                memory_total_bytes=498_216_206_336,
                memory_free_bytes=498_216_206_336,
                unified=True,
                bandwidth_bytes_per_s=819_000_000_000,
            ),
            Device(
                kind="npu",
                vendor="apple",
                name="Apple Neural Engine",
                unified=True,
                usable=False,
                reason="reachable through Core ML only",
            ),
        ),
        disk_free_bytes=900_000_000_000,
    ),
    "macbook-air-m2-8gb": Machine(
        platform="darwin",
        cpu=Cpu(
            name="Apple M2",
            arch="arm64",
            cores_physical=8,
            cores_logical=8,
            cores_usable=4,
            features=(
                "neon",
                "dotprod",
                "fp16",
                "i8mm",
                "bf16",
            ),
        ),
        memory=Memory(total_bytes=8_589_934_592, available_bytes=3_221_225_472, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="apple",
                name="Apple M2",
                memory_total_bytes=5_726_633_984,
                memory_free_bytes=3_221_225_472,
                unified=True,
                bandwidth_bytes_per_s=100_000_000_000,
            ),
            Device(
                kind="npu",
                vendor="apple",
                name="Apple Neural Engine",
                unified=True,
                usable=False,
                reason="reachable through Core ML only",
            ),
        ),
        disk_free_bytes=96_000_000_000,
    ),
    "macbook-pro-m4-pro-24gb": Machine(
        platform="darwin",
        cpu=Cpu(
            name="Apple M4 Pro",
            arch="arm64",
            cores_physical=12,
            cores_logical=12,
            cores_usable=8,
            features=("neon", "dotprod", "fp16", "i8mm", "bf16", "sme"),
        ),
        memory=Memory(total_bytes=25_769_803_776, available_bytes=17_179_869_184, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="apple",
                name="Apple M4 Pro",
                memory_total_bytes=17_179_890_000,
                memory_free_bytes=17_179_869_184,
                unified=True,
                bandwidth_bytes_per_s=273_000_000_000,
            ),
            Device(
                kind="npu",
                vendor="apple",
                name="Apple Neural Engine",
                unified=True,
                usable=False,
                reason="reachable through Core ML only",
            ),
        ),
        disk_free_bytes=320_000_000_000,
    ),
    "raspberry-pi-5-8gb": Machine(
        platform="linux",
        cpu=Cpu(
            name="Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76)",
            arch="arm64",
            cores_physical=4,
            cores_logical=4,
            cores_usable=4,
            features=(
                "neon",
                "dotprod",
                "fp16",
            ),
        ),
        memory=Memory(total_bytes=8_455_634_944, available_bytes=7_577_600_000, limit_bytes=None),
        disk_free_bytes=40_000_000_000,
    ),
    "rtx-4090-desktop": Machine(
        platform="linux",
        cpu=Cpu(
            name="13th Gen Intel(R) Core(TM) i9-13900K",
            arch="x86_64",
            cores_physical=24,
            cores_logical=32,
            cores_usable=8,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
                "avx_vnni",
            ),
        ),
        memory=Memory(total_bytes=67_221_721_088, available_bytes=61_566_418_944, limit_bytes=None),
        devices=(
            Device(
                kind="gpu",
                vendor="nvidia",
                name="NVIDIA GeForce RTX 4090",
                memory_total_bytes=25_757_220_864,
                memory_free_bytes=24_738_004_992,
                driver="560.35.03",
                compute_capability="8.9",
                bandwidth_bytes_per_s=1_008_000_000_000,
            ),
        ),
        disk_free_bytes=250_000_000_000,
    ),
    "strix-halo-128gb": Machine(
        platform="linux",
        cpu=Cpu(
            name="AMD RYZEN AI MAX+ 395 w/ Radeon 8060S",
            arch="x86_64",
            cores_physical=16,
            cores_logical=32,
            cores_usable=16,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
                "avx512f",
                "avx512_vnni",
                "avx_vnni",
                "avx512_bf16",
            ),
        ),
        memory=Memory(total_bytes=132_280_320_000, available_bytes=123_904_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="igpu",
                vendor="amd",
                name="AMD Radeon 8060S",
                memory_total_bytes=107_374_182_400,
                memory_free_bytes=106_849_894_400,
                unified=True,
                reason="4096 MiB set aside in firmware and up to 98304 MiB of main memory (GTT)",
                driver="amdgpu",
                bandwidth_bytes_per_s=256_000_000_000,
            ),
            Device(
                kind="npu",
                vendor="amd",
                name="AMD Ryzen AI NPU (RyzenAI-npu5)",
                unified=True,
                reason=UNPROVEN,
                driver="amdxdna",
            ),
        ),
        disk_free_bytes=250_000_000_000,
    ),
    "windows-780m-rtx4060": Machine(
        platform="win32",
        cpu=Cpu(
            name="AMD Ryzen 7 7840HS w/ Radeon 780M Graphics",
            arch="x86_64",
            cores_physical=8,
            cores_logical=16,
            cores_usable=8,
            features=(
                "avx",
                "avx2",
                "avx512f",
            ),
        ),
        memory=Memory(total_bytes=32_050_466_816, available_bytes=21_474_836_480, limit_bytes=None),
        devices=(
            Device(
                kind="gpu",
                vendor="nvidia",
                name="NVIDIA GeForce RTX 4060 Laptop GPU",
                memory_total_bytes=8_585_740_288,
                memory_free_bytes=8_343_519_232,
                driver="566.36",
                compute_capability="8.9",
            ),
            Device(
                kind="igpu",
                vendor="amd",
                name="AMD Radeon 780M Graphics",
                memory_total_bytes=16_025_233_408,
                memory_free_bytes=16_025_233_408,
                unified=True,
                reason="estimated as half of main memory",
                driver="32.0.12033.1030",
            ),
            Device(
                kind="npu", vendor="amd", name="AMD IPU Device", unified=True, reason=UNPROVEN, driver="32.0.201.204"
            ),
        ),
        disk_free_bytes=420_000_000_000,
    ),
    "wsl2-rtx": Machine(
        platform="linux",
        cpu=Cpu(
            name="AMD Ryzen 7 5800X 8-Core Processor",
            arch="x86_64",
            cores_physical=8,
            cores_logical=16,
            cores_usable=8,
            features=(
                "avx",
                "avx2",
                "fma",
                "f16c",
            ),
        ),
        memory=Memory(total_bytes=16_736_505_856, available_bytes=15_872_000_000, limit_bytes=None),
        devices=(
            Device(
                kind="gpu",
                vendor="nvidia",
                name="NVIDIA GeForce RTX 3060",
                memory_total_bytes=12_884_901_888,
                memory_free_bytes=11_695_816_704,
                driver="560.94",
                compute_capability="8.6",
                bandwidth_bytes_per_s=360_000_000_000,
            ),
        ),
        wsl=True,
        disk_free_bytes=250_000_000_000,
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_machine_is_seen_as_it_is(name: str) -> None:
    text = (MACHINES / f"{name}.json").read_text("utf-8")
    assert probe(load_record(text)) == EXPECTED[name]


def test_every_recorded_machine_has_an_expectation() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in MACHINES.glob("*.json"))
