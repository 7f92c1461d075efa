"""Loads an ONNX folder as lf's worker would, reads a prompt that fills the context, and prints what the system says.

    python -m benchmarks.fit.measure_onnx FOLDER CONTEXT_TOKENS

One process for each measurement. Prints one JSON object: the process before it loaded (`base`) and at the end (`peak`).
"""

from __future__ import annotations

import json
import os
import sys

from benchmarks.fit.process import find_memory

from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
from localfirst.backends.registry import make_backend
from localfirst.conversation import Sampling

ANSWER_TOKENS = 8
FIRST_PLAIN_TOKEN = 300


def main(folder: str, context: str) -> None:
    """Measure, and print."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    base = find_memory()
    model = make_backend("onnx").load(ModelFiles(folder), LoadOptions(int(context), threads=2))
    prompt = tuple(FIRST_PLAIN_TOKEN + number % 150 for number in range(int(context) - 2 * ANSWER_TOKENS))
    for _ in model.generate(GenerateRequest(prompt, Sampling(temperature=0), ANSWER_TOKENS)):
        pass
    print(json.dumps({"base": base, "peak": find_memory()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
