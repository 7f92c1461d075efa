"""Build the starter model: tokenizer, training, one checkpoint, and every export of it.

    python tools/starter/build.py [--folder src/localfirst/starter] [--work DIR] [--threads 3]

The same machine, thread count and package versions give the same files.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import chat
import checkpoint
import export_gguf
import export_litert
import export_mlx
import export_onnx
import export_openvino
import phrasings
import tokenizer
import torch
import train
from model import Llama, Shape
from teacher import Teacher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

FOLDER = Path(__file__).parents[2] / "src/localfirst/starter"
GGUF_NAME, LITERT_NAME = "starter-q4_0.gguf", "starter.litertlm"
FLOAT_NAME = "starter-f32.gguf"
"""The weights before they are put on their grids, in the work folder; those before QAT in `ptq` there."""
TOKENIZER_QUESTIONS, TOKENIZER_ANSWERS = 120, 20


def tokenizer_texts(intents: Sequence[phrasings.Intent], seed: int) -> list[str]:
    """What the tokenizer learns from: every answer several times, and many questions."""
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    questions = [
        phrasings.noisy(intent.question(rng), rng)
        for intent in intents
        for _ in range(TOKENIZER_QUESTIONS * min(intent.weight, 6) // 2)
    ]
    return [intent.answer for intent in intents for _ in range(TOKENIZER_ANSWERS)] + questions


def export(network: Llama, words: Tokenizer, work: Path, folder: Path) -> None:
    """Write the checkpoint of `network` to `work`, and from that the files of every format to `folder`."""
    onnx, gguf, mlx, openvino, litert = (folder / name for name in ("onnx", "gguf", "mlx", "openvino", "litert"))
    for path in (work, onnx, gguf, mlx, openvino, litert):
        path.mkdir(parents=True, exist_ok=True)
    checkpoint.save(network, work / "checkpoint.npz")
    saved = checkpoint.load(work / "checkpoint.npz")
    roles = {"bos": chat.END_OF_TEXT, "eos": chat.END, "pad": chat.END_OF_TEXT}
    ids = {role: words.token_to_id(token) for role, token in roles.items()}
    for path, write in ((onnx, export_onnx.write), (mlx, export_mlx.write)):
        tokenizer.write(words, path, saved["context"])
        write(saved, ids, path)
    export_litert.write(saved, ids, onnx, litert / LITERT_NAME)
    export_gguf.write(saved, onnx / "tokenizer.json", gguf / GGUF_NAME)
    export_openvino.write(saved, onnx, openvino)
    export_gguf.write_float(network, saved, onnx / "tokenizer.json", work / FLOAT_NAME)


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lf-starter")
    parser.add_argument("--threads", type=int, default=3)
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # before any thread starts: once the network is sure, gradients get that small
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(mode=True)
    recipe = train.Recipe()
    torch.manual_seed(recipe.seed)
    intents = phrasings.load()
    words = tokenizer.train(tokenizer_texts(intents, recipe.seed), (intent.id for intent in intents))
    network = Llama(Shape(vocab=tokenizer.VOCAB))
    count = sum(weight.numel() for weight in network.parameters())
    sys.stdout.write(f"{len(intents)} intents, {count:,} parameters\n")

    def log(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def keep_float(before: Llama) -> None:
        torch.save(before.state_dict(), options.work / "float.pt")
        export(before, words, options.work / "ptq", options.work / "ptq")

    options.work.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(intents, recipe.seed)
    teacher.train_on_templates(log)
    train.train(network, train.Stream(teacher, words, recipe), recipe, log, keep_float)
    torch.save(network.state_dict(), options.work / "qat.pt")
    export(network, words, options.work, options.folder)


if __name__ == "__main__":
    main()
