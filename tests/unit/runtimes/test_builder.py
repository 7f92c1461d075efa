"""What is known of the model builder, against the builder itself, whose source the development environment has."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from localfirst.errors import EngineError, ModelFileError, UsageError
from localfirst.runtimes import builder
from localfirst.runtimes.table import TOOLS


@pytest.fixture(scope="module")
def source() -> str:
    spec = find_spec("onnxruntime_genai")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("models").joinpath("builder.py").read_text(encoding="utf-8")


def test_its_architectures_are_those_that_it_asks_for(source: str) -> None:
    asked = set(re.findall(r'config\.architectures\[0\] == "(\w+)"', source))
    assert asked == {*builder.ARCHITECTURES, *builder.NOT_OF_TEXT}
    assert list(builder.ARCHITECTURES) == sorted(builder.ARCHITECTURES)


def test_its_targets_are_among_those_that_it_says_are_valid(source: str) -> None:
    line = next(line for line in source.splitlines() if "Valid precision + execution provider combinations" in line)
    valid = set(re.findall(r"(\w+) ([\w-]+)[,\"]", line.partition(" are: ")[2]))
    ours = {(precision.upper(), name.lower()) for name, one in builder.TARGETS.items() for precision in one.precisions}
    assert ours <= {(precision, provider.lower()) for precision, provider in valid}
    (known,) = re.findall(r'choices=\["cpu", .*\]', source)
    assert {one.provider for one in builder.TARGETS.values()} == set(re.findall(r'"(\w+)"', known))


def test_a_device_has_its_usual_precision() -> None:
    assert [builder.choose_precision(name, None) for name in builder.TARGETS] == ["int4"] * 4 + ["fp16"]
    assert builder.choose_precision("cpu", "fp32") == "fp32"


@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp16"), ("npu", None), ("webgpu", "fp32")])
def test_what_it_has_not_is_refused_with_what_it_has(device: str, precision: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        builder.choose_precision(device, precision)
    assert caught.value.detail is not None
    assert "--for cpu: int4, fp32" in caught.value.detail.splitlines()


@pytest.mark.parametrize(
    ("architecture", "why"),
    [
        ("MambaForCausalLM", "not one that it knows"),
        ("WhisperForConditionalGeneration", "speech"),
        (None, "without a name"),
    ],
)
def test_an_architecture_that_it_does_not_know_is_refused_with_the_list(architecture: str | None, why: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        builder.check_architecture(architecture, "hf:org/model")
    assert caught.value.detail is not None
    assert why in caught.value.detail
    assert "LlamaForCausalLM" in caught.value.detail


MEASURED = (
    ("int4", 123_489_024, 32_000 * 768, False, 246_978_048, 1_354_056, 154),
    ("fp32", 123_489_024, 32_000 * 768, False, 246_978_048, 860_312, 472),
    ("fp16", 123_489_024, 32_000 * 768, False, 246_978_048, 755_196, 237),
    ("int4", 430_490_624, 32_000 * 1024, False, 860_981_248, 3_458_332, 363),
    ("fp32", 430_490_624, 32_000 * 1024, False, 860_981_248, 1_627_464, 1643),
    ("fp16", 430_490_624, 32_000 * 1024, False, 860_981_248, 1_404_952, 822),
    ("int4", 430_490_624, 32_000 * 1024, False, 1_721_962_496, 4_372_692, 363),
    ("int4", 277_234_688, 151_936 * 1024, True, 554_469_376, 3_270_276, 166),
    ("fp32", 277_234_688, 151_936 * 1024, True, 554_469_376, 2_241_104, 1059),
    ("fp16", 277_234_688, 151_936 * 1024, True, 554_469_376, 1_579_732, 530),
)
"""Precision, parameters, those of the embedding, tied, bytes of the weights; measured: KiB resident at the peak, MiB of
the result."""


@pytest.mark.parametrize(
    ("precision", "parameters", "embedding", "tied", "weights", "peak_kib", "output_mib"), MEASURED
)
def test_what_was_measured_is_within_the_estimate(
    precision: str, parameters: int, embedding: int, tied: bool, weights: int, peak_kib: int, output_mib: int
) -> None:
    cost = builder.estimate(builder.Sizes(parameters, embedding, tied, weights), precision)
    peak, output = peak_kib * 1024, output_mib * 2**20
    assert peak <= cost.memory_bytes <= 1.6 * peak
    assert output * 0.97 <= cost.output_bytes <= 1.1 * output
    assert 0 < cost.low_s < cost.high_s


def test_an_environment_without_what_it_needs_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        builder.ask_version(str(tmp_path / "no-python"))
    assert "no-python" in (caught.value.detail or "")


def test_it_reaches_no_hub_and_has_no_leave_to_run_code() -> None:
    settings = builder.make_settings(Path("work"), threads=3)
    assert settings["HF_HUB_OFFLINE"] == settings["ORT_DISABLE_TELEMETRY"] == "1"
    words = builder.make_command("python", Path("in"), Path("out"), Path("cache"), device="trt-rtx", precision="fp16")
    assert words[words.index("-e") + 1] == "NvTensorRtRtx"
    assert {"hf_remote=false", "hf_token=false"} <= set(words)
    assert "-I" in words


def test_its_environment_is_pinned_but_for_what_has_an_index_of_its_own() -> None:
    (row,) = TOOLS
    pins = (Path(builder.CHILD).parent / "pins" / row.pins).read_text(encoding="utf-8")
    assert f"{row.distribution}=={row.version} " in pins
    assert "\ntorch==" not in pins
    assert row.from_index is not None
    assert row.from_index.startswith("torch==")
    assert all(re.search(rf"^{re.escape(need)}==", pins, re.MULTILINE) for need in row.needs)
