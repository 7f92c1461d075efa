"""Damage that `lf model verify` has found: no command starts such a model, until it is mended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.hub import Hub
from tests.fixtures.scripted import make_gguf

NAME = "smollm2-360m"
REPLY = "Whole again."


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    make_gguf(tmp_path / "model.gguf", REPLY)
    with Hub() as running:
        running.add_repo(
            "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            {"smollm2-360m-instruct-q8_0.gguf": (tmp_path / "model.gguf").read_bytes()},
        )
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


def rot(path: Path) -> None:
    """Change a byte as a failing disk does: the file keeps its size and its date."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def find_file(lf: Lf) -> Path:
    (path,) = (lf.home / "models").rglob("*.gguf")
    return path


def test_a_model_that_was_found_damaged_is_not_run_until_it_is_mended(lf: Lf, hub: Hub) -> None:
    assert lf("pull", NAME).returncode == 0
    rot(find_file(lf))
    assert lf("run", NAME, "hi").stdout == f"{REPLY}\n"  # nobody knows yet
    assert lf("model", "verify", NAME).returncode == 7
    refused = lf("run", NAME, "hi", "--offline")
    assert (refused.returncode, refused.stdout) == (7, "")
    assert refused.stderr.splitlines()[0] == (
        f"error: `{NAME}` is damaged: `lf model verify` found other bytes than it should have"
    )
    assert refused.stderr.splitlines()[-1] == f"hint: `lf model verify {NAME} --repair` fetches what is wrong."
    assert lf("model", "verify", NAME, "--quick").returncode == 7
    assert lf("model", "verify", NAME, "--repair").returncode == 0
    assert lf("run", NAME, "hi", "--offline").stdout == f"{REPLY}\n"
    assert not (lf.home / "models" / "damage.json").exists()


@pytest.mark.parametrize("how", ["pulled", "put back", "removed"])
def test_it_is_forgotten_however_it_ends(lf: Lf, hub: Hub, how: str, tmp_path: Path) -> None:
    assert lf("pull", NAME).returncode == 0
    rot(find_file(lf))
    assert lf("model", "verify", "--all").returncode == 7
    if how == "pulled":
        assert lf("pull", NAME).returncode == 0
    elif how == "put back":
        find_file(lf).write_bytes((tmp_path / "model.gguf").read_bytes())
    else:
        assert lf("rm", NAME).returncode == 0
        assert not list((lf.home / "models").glob("*.json"))
        assert lf("pull", NAME).returncode == 0
    assert lf("run", NAME, "hi").stdout == f"{REPLY}\n"


def test_a_file_of_the_users_own_is_told_with_what_can_be_done(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "mine.gguf", REPLY)
    assert lf("model", "import", str(tmp_path / "mine.gguf"), "--name", "mine").returncode == 0
    rot(tmp_path / "mine.gguf")
    assert lf("model", "verify", "mine").returncode == 7
    refused = lf("run", "mine", "hi")
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "put the file back" in " ".join(refused.stderr.split())
    rot(tmp_path / "mine.gguf")  # the same bit again
    assert lf("model", "verify", "mine").returncode == 0
    assert lf("run", "mine", "hi").stdout == f"{REPLY}\n"


def test_a_record_that_is_damaged_itself_harms_nothing(lf: Lf, hub: Hub) -> None:
    assert lf("pull", NAME).returncode == 0
    for text in ("{", "[]", '{"schema": "lf.damage/1", "files": 7}', '{"schema": "lf.damage/9", "files": {}}'):
        (lf.home / "models" / "damage.json").write_text(text)
        assert lf("run", NAME, "hi").stdout == f"{REPLY}\n"
