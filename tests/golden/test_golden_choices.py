"""What would run on each recorded machine, for 25 well-known models: a table reviewed by eye, `choices.txt`.

A change to a rule, a formula or a profile shows here as cells that differ. When they are right, write the table anew
with `python -m tests.golden.write_choices` and say in the commit why.

What may surprise:

* A build that a GPU holds whole stands before every build for the CPU, its vendor's too: Phi-4-mini is Microsoft's own
  ONNX folder where there is no GPU, and a GGUF conversion on a GPU. `--tier vendor` or `@int4-cpu` takes the folder.
* A build whose size nobody has looked up is chosen for TinyLlama, which has no other, and where a GPU has twice the
  memory that it can need and the others are for the CPU: Llama 3.2 3B's GGUF, Phi-3.5-mini's MLX folder.
* On the Copilot+ PC nothing goes to the NPU: no engine of this release computes there, and llama.cpp has no package for
  Windows on Arm, so only ONNX folders for the CPU remain.
* Gemma 3 on a Mac is Google's own QAT GGUF on Metal: the MLX conversion is a platform's. Where MLX and GGUF builds have
  the same publisher or both a platform's, as Qwen3 and gpt-oss-20b, MLX is a little smaller or comes first by its name.
* BitNet runs nowhere: its files need bitnet.cpp, which is no engine of this release. TinyLlama is Intel's OpenVINO
  folder, and elsewhere only a llamafile: a program, which runs only where it is named.
* gpt-oss-20b without a GPU is Intel's folder, where it fits: smaller than Microsoft's ONNX folder.
* DGX Spark uses its CPU: the packages of llama.cpp for GPUs that are pinned here are for x86-64.
* qwen3-30b-a3b runs where qwen3-32b is too slow: a token reads three of its thirty billion parameters.
* In the container with 1 GB nothing of this fits: half of it is left free beside any model. The starter would.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden.write_choices import make_table

TABLE = Path(__file__).with_name("choices.txt")


def test_the_choices_are_those_that_were_reviewed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path))
    assert make_table().splitlines() == TABLE.read_text(encoding="utf-8").splitlines()
