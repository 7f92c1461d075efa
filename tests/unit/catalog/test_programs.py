"""Programs of the user's own, and builds that are programs: chosen where they are named, and not before weights."""

from __future__ import annotations

import pytest
from catalog_examples import LLAMA, VARIANT, make_machine, make_model

from localfirst.catalog.names import parse_remote
from localfirst.catalog.place import find_devices
from localfirst.catalog.resolve import resolve
from localfirst.errors import RuntimeMissingError
from localfirst.types import Device, Parallel, Runtime, Wanted
from localfirst.units import GIB

LLAMAFILE = Runtime(
    "llamafile", "llamafile", "llamafile", "unknown", ("llamafile", "gguf"), "cpu", ("cpu",), "external"
)
ABSENT = Runtime("vllm", "vllm", "vLLM", "", ("safetensors",), "gpu", ("cuda",), "unavailable", "not on the path")
VLLM = ABSENT._replace(state="external", reason=None)
PACKED = VARIANT._replace(name="packed", format="llamafile")
FOLDER = VARIANT._replace(name="awq", format="safetensors", devices=("cuda",))


def choose(model: object, *runtimes: Runtime, **wanted: object) -> tuple[str, str]:
    plan = resolve(model, make_machine(), runtimes, wanted=Wanted(**wanted)).chosen
    return plan.variant.name, plan.runtime.name


def test_weights_are_chosen_before_a_program_unless_one_is_named() -> None:
    model = make_model(VARIANT._replace(tier="community"), PACKED)
    assert choose(model, LLAMA, LLAMAFILE) == (VARIANT.name, "llama-cpu")
    assert choose(model, LLAMA, LLAMAFILE, quantization="packed") == ("packed", "llamafile")
    assert choose(model, LLAMA, LLAMAFILE, backend="llamafile")[1] == "llamafile"


def test_a_build_that_is_a_program_says_how_to_name_it_and_the_users_own_needs_no_naming() -> None:
    with pytest.raises(RuntimeMissingError) as caught:
        choose(make_model(PACKED), LLAMA, LLAMAFILE)
    assert "it is a program, which runs only where you name it: `@packed`" in caught.value.message
    assert choose(make_model(PACKED._replace(host="import")), LLAMA, LLAMAFILE) == ("packed", "llamafile")


def test_a_format_whose_programs_are_not_here_names_them_all() -> None:
    with pytest.raises(RuntimeMissingError) as caught:
        choose(make_model(FOLDER), LLAMA, ABSENT)
    assert "safetensors needs vLLM, TensorRT-LLM or SGLang" in caught.value.message
    with pytest.raises(RuntimeMissingError) as named:
        choose(make_model(FOLDER), LLAMA, ABSENT, backend="vllm")
    assert "not on the path" in named.value.message


def test_as_many_devices_count_as_a_model_is_spread_over() -> None:
    gpus = tuple(Device("gpu", "nvidia", f"GPU {number}", 24 * GIB, 23 * GIB) for number in range(4))
    machine = make_machine()._replace(devices=gpus)
    counts = [len(find_devices(machine, VLLM, Parallel(*shape))) for shape in ((1, 1), (2, 1), (2, 2), (8, 1))]
    assert counts == [1, 2, 4, 4]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("remote:http://127.0.0.1:8000/v1", ("http://127.0.0.1:8000/v1", None)),
        ("remote:https://models.example/v1@org/name:tag", ("https://models.example/v1", "org/name:tag")),
        ("Remote:http://host", ("http://host", None)),
        ("remote:http://me@host/v1", ("http://me@host/v1", None)),
        ("remote", None),
        ("hf:org/repo", None),
    ],
)
def test_a_remote_name_is_an_address_and_a_model(text: str, parts: tuple[str, str | None] | None) -> None:
    assert parse_remote(text) == parts
