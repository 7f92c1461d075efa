"""Shell completion in the real shells: model names, commands, options; quick and without the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.scripted import make_gguf


def run_shell(lf: Lf, *command: str) -> list[str]:
    """Lines that a shell prints, with `lf` on its path."""
    shell = command[0]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, env=lf.env() | {"PATH": path}, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes_model_names_commands_and_options(lf: Lf) -> None:
    script = """
        eval "$(lf completion bash)"
        complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lf_completion; echo "${COMPREPLY[@]}"; }
        complete_words lf run phi-4-mini
        complete_words lf model ex
        complete_words lf run --max
        complete_words lf runtime install onnx-c
        complete_words lf run gemma-3-4b@mlx-qat-
        complete_words lf run starter --backend llama.
    """
    words = run_shell(lf, "bash", "-c", script)
    models = ["phi-4-mini", "phi-4-mini-reasoning"]
    assert words == [
        *models,
        "explain",
        "--max-tokens",
        "onnx-cpu",
        "onnx-cuda",
        "gemma-3-4b@mlx-qat-4bit",
        "llama.cpp",
    ]


def test_only_what_is_on_this_disk_is_offered_to_be_removed(lf: Lf, tmp_path: Path) -> None:
    make_gguf(tmp_path / "phi-mine.gguf", "Mine.")
    assert lf("model", "import", str(tmp_path / "phi-mine.gguf")).returncode == 0
    script = """
        eval "$(lf completion bash)"
        COMP_WORDS=(lf rm phi); COMP_CWORD=2; _lf_completion; echo "${COMPREPLY[@]}"
        case $COMP_WORDBREAKS in *@*) echo broken;; esac
    """
    assert run_shell(lf, "bash", "-c", script) == ["phi-mine"]


def test_zsh_gets_model_names(lf: Lf) -> None:
    script = """
        compdef() { :; }
        _arguments() { print -r -- "$@"; }
        eval "$(lf completion zsh)"
        words=(lf run phi-4-mini); CURRENT=3
        _lf_completion
    """
    assert any("phi-4-mini-reasoning" in word for word in run_shell(lf, "zsh", "-f", "-c", script))


def test_fish_completes_model_names(lf: Lf) -> None:
    script = "lf completion fish | source; complete -C 'lf run phi-4-mini'"
    words = run_shell(lf, "fish", "--no-config", "-c", script)
    assert {"phi-4-mini", "phi-4-mini-reasoning"} <= set(words)


def test_a_script_is_plain_text_that_says_where_it_goes(lf: Lf) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "lf completion" in lf("completion", shell).stdout
    assert lf("completion", "tcsh").returncode == 2
