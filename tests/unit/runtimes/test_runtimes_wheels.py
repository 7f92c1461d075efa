"""Wheels as files: which pins count for a Python, and that no other wheel than a pinned one is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfirst.errors import IntegrityError, RuntimeMissingError
from localfirst.paths import package_dir
from localfirst.runtimes import wheels
from localfirst.runtimes.table import RUNTIMES, find_row

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize(
    "path", sorted((package_dir() / "runtimes" / "pins").glob("*.txt")), ids=lambda path: path.name
)
def test_every_line_of_every_pin_file_is_understood(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    pins = wheels.parse_pins(text)
    assert len(pins) == sum("==" in line and "--hash" not in line for line in text.splitlines())
    assert sum(len(pin.digests) for pin in pins) == text.count("--hash=sha256:")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("row", RUNTIMES, ids=lambda row: row.name)
def test_each_package_is_pinned_once_for_each_python(row, python) -> None:
    names = [pin.name for pin in wheels.read_pins(row, python)]
    assert len(set(names)) == len(names)
    assert "jinja2" in names
    assert (row.distribution in names) == (row.index_url is None)


def test_a_marker_is_asked_of_the_python_that_the_wheels_are_for() -> None:
    versions = {
        python: next(pin.version for pin in wheels.read_pins(find_row("onnx-cpu"), python) if pin.name == "numpy")
        for python in PYTHONS
    }
    assert versions["3.11"] != versions["3.12"] == versions["3.13"] == versions["3.14"]


@pytest.mark.parametrize("text", ["jinja2\n", "jinja2==3.1.6\n", "jinja2>=3 --hash=sha256:" + "0" * 64])
def test_what_is_no_pin_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no pin"):
        wheels.parse_pins(text)


def test_a_marker_of_another_kind_is_an_error_and_not_ignored() -> None:
    (pin,) = wheels.parse_pins("x==1 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64)
    with pytest.raises(ValueError, match="no marker"):
        wheels._counts(pin, "3.12")


def make_wheels(row, python="3.12") -> dict[str, str]:
    """A right set: a name and a digest of each pin."""
    found = {
        f"{pin.name.replace('-', '_')}-{pin.version}-py3-none-any.whl": pin.digests[0]
        for pin in wheels.read_pins(row, python)
    }
    if row.index_url is not None:
        found[f"{row.distribution.replace('-', '_')}-{row.version}+cu128-cp312-cp312-linux_x86_64.whl"] = "f" * 64
    return found


@pytest.mark.parametrize("row", RUNTIMES, ids=lambda row: row.name)
def test_the_pinned_wheels_are_taken(row) -> None:
    wheels.check_wheels(row, "3.12", make_wheels(row))


@pytest.mark.parametrize("name", ["onnx-cpu", "llama-cuda"])
def test_no_other_set_of_wheels_is_taken(name: str) -> None:
    row = find_row(name)
    good = make_wheels(row)
    first = next(iter(good))
    for bad, said in (
        ({**good, first: "0" * 64}, f"{first} is not the wheel that this lf knows"),
        ({**good, "evil-1.0-py3-none-any.whl": "0" * 64}, "The wheels are not those of"),
        ({**good, first.replace("-py3", "-1-py3"): good[first]}, "The wheels are not those of"),
        ({name: digest for name, digest in good.items() if name != first}, "The wheels are not those of"),
    ):
        with pytest.raises(IntegrityError, match=said) as caught:
            wheels.check_wheels(row, "3.12", bad)
        assert caught.value.exit_code == 7


def test_wheels_for_another_python_are_refused_with_both_versions() -> None:
    wheels.require_same_python(wheels.this_python())
    with pytest.raises(RuntimeMissingError) as caught:
        wheels.require_same_python("3.99")
    assert caught.value.message.startswith("The bundle's engines are for Python 3.99, and lf runs on Python 3.")


@pytest.mark.parametrize(
    ("name", "project"),
    [
        ("onnxruntime_genai-0.18.0-cp311-cp311-win_amd64.whl", "onnxruntime-genai"),
        ("Jinja2-3.1.6-py3-none-any.whl", "jinja2"),
        ("a.b__c-1-py3-none-any.whl", "a-b-c"),
    ],
)
def test_a_wheel_is_of_a_project(name: str, project: str) -> None:
    assert wheels.find_project(name) == project
