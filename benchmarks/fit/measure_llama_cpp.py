"""Loads a GGUF file as lf's worker would, reads a prompt, and prints what llama.cpp and the system say of the memory.

    python -m benchmarks.fit.measure_llama_cpp FILE CONTEXT_TOKENS CACHE_TYPE PARALLEL

One process for each measurement, since a peak cannot be taken back. Prints one JSON object: `buffers`, llama.cpp's own
figures in MiB by kind of buffer, and the process before it loaded (`base`) and at the end (`peak`).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile

from benchmarks.fit.process import find_memory

from localfirst.backends.base import LoadOptions
from localfirst.backends.llama_cpp import server

INFO = 4
"""The verbosity at which llama.cpp tells how large its buffers are."""
PROMPT_TOKENS = 300
BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size =\s+([\d.]+) MiB")
FIRST_PLAIN_TOKEN = 259


def main(path: str, context: str, cache: str, parallel: str) -> None:
    """Measure, and print."""
    server.VERBOSITY = INFO
    base = find_memory()
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        options = LoadOptions(int(context), threads=2, cache=cache, requests=int(parallel))
        started = server.LlamaServer(path, int(context), options)
        prompt = [FIRST_PLAIN_TOKEN + number for number in range(PROMPT_TOKENS)]
        started.stream({"prompt": prompt, "max_tokens": 4, "ignore_eos": True}, lambda _event: False)
        peak = find_memory()
        log.seek(0)
        print(json.dumps({"buffers": read_buffers(log.read().decode(errors="replace")), "base": base, "peak": peak}))


def read_buffers(log: str) -> dict[str, float]:
    """MiB by kind: `model`, `repacked`, `KV`, `RS`, `compute`, `output`."""
    found: dict[str, float] = {}
    for device, kind, mib in BUFFER.findall(log):
        name = "repacked" if "REPACK" in device else kind
        found[name] = found.get(name, 0) + float(mib)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
