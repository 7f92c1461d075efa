"""Ask the real engines every held-out question and report how many answers are right, and how many are the same.

An answer is right when it names the expected command in backticks (or, for a definition, holds the expected words).

    python tools/starter/evaluate.py [--folder src/localfirst/starter] [--only gguf|onnx|mlx]
"""

from __future__ import annotations

import argparse
import json
import random
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import chat
import phrasings
import yaml
from engines import LlamaCpp, MlxLm, OnnxGenai

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engines import Engine

BAR = 0.9
ENGINES = {"gguf": ("gguf/starter-q4_0.gguf", LlamaCpp), "onnx": ("onnx", OnnxGenai), "mlx": ("mlx", MlxLm)}
"""What an engine opens, by format; the first is the one that the others are compared with."""
FRESH = Path(__file__).parent / "fresh.yaml"
FOLDER = Path(__file__).parents[2] / "src/localfirst/starter"
README_QUESTIONS = {
    "How do I list the models that fit this machine?": "`lf model list --fits`",
    "Which models fit my laptop?": "`lf model list --fits`",
    "What is QAT?": "trained while its weights are rounded",
    "How do I chat with a model?": "`lf model run MODEL`",
    "How do I download a model?": "`lf model pull MODEL`",
    "How do I remove a model?": "`lf model rm MODEL`",
    "Why did lf choose this build?": "`lf model explain MODEL`",
    "Is anything sent to a cloud?": "Nothing is sent",
    "What hardware do I have?": "`lf hw`",
    "Who are you?": "the starter model of lf",
    "What is the capital of France?": "`lf model list --fits`",
    "Write a poem about the sea.": "`lf model list --fits`",
    "What does exit code 4 mean?": "4 means",
    "What does --seed do?": "`--seed`",
    "Hello": "Hello!",
}
ALPHABETS = (
    string.printable,
    string.ascii_letters + "     ",
    "äöüßéèñçøåœæ ÀÉÎÕÜ",
    "абвгдежзиклмноп АБВ",
    "漢字仮名交じり文 日本語中文",
    "αβγδε ΔΣΩ ٠١٢٣ ابجد हिन्दी ไทย 한국어",
    "😀🎉👩‍💻🇫🇷 ①²½™ \u200b\u00a0\u2003",
    "0123456789.,:;-\u2013\u2014'\"`“”«»",
    " \n\t\r  ",
)


def strings(count: int) -> list[str]:
    """Texts to compare the tokenizers on: seeded mixtures of many scripts, and tricky ones."""
    rng = random.Random(5)  # noqa: S311 - reproducible on purpose
    texts = [
        "it's we'll I'D they've 'tis",
        "a  b   c\n\n d\t\te ",
        "x\u0301 e\u0301",
        "\ufb01 \u01c5 \u1e9e \u0130 \u0131",
        "\uff11\uff12\uff13 \u2167",
        "\ufeffBOM",
        "",
    ]
    while len(texts) < count:
        pools = rng.sample(ALPHABETS, rng.randint(1, 3))
        texts.append("".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 40))))
    return texts


def same_tokens(first: Engine, second: Engine, texts: Iterable[str]) -> list[str]:
    """The texts that the two engines cut differently."""
    return [text for text in texts if text and first.tokens(text) != second.tokens(text)]


def ask(engine: Engine, questions: Iterable[str]) -> dict[str, str]:
    """The greedy answer to each question."""
    return {question: engine.answer(chat.prompt(question)).strip() for question in questions}


def question_sets() -> dict[str, dict[str, str]]:
    """What a right answer must contain, by question, by set."""
    intents = phrasings.load()
    expected = {intent.id: intent.expected for intent in intents}
    fresh = yaml.safe_load(FRESH.read_text(encoding="utf-8"))
    return {
        "readme": README_QUESTIONS,
        "heldout": {question: intent.expected for intent in intents for question in intent.heldout},
        "fresh": {question: expected[name] for name, questions in fresh.items() for question in questions},
    }


def score(answers: Mapping[str, str], sets: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Right answers, accuracy and the wrong answers of each set."""
    scores: dict[str, object] = {}
    for name, expected in sets.items():
        wrong = {question: answers[question] for question, want in expected.items() if want not in answers[question]}
        right = len(expected) - len(wrong)
        scores[name] = {
            "right": right,
            "of": len(expected),
            "accuracy": round(right / len(expected), 4),
            "wrong": wrong,
        }
    return scores


def compare(name: str, engines: Mapping[str, Engine], answers: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Where a format gives another text than GGUF, or cuts a text into other tokens."""
    first, second = answers["gguf"], answers[name]
    texts = [*strings(600), *first, *set(first.values())]
    return {
        "asked": len(first),
        "different_answers": {
            question: [first[question], second[question]] for question in first if first[question] != second[question]
        },
        "tokenized": len(texts),
        "tokenized_differently": same_tokens(engines["gguf"], engines[name], texts),
    }


def main() -> None:
    """Run everything and print a report; exit 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", choices=ENGINES)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    engines: dict[str, Engine] = {
        name: make(options.folder / path, options.threads)
        for name, (path, make) in ENGINES.items()
        if options.only in {None, name}
    }
    sets = question_sets()
    questions = [question for expected in sets.values() for question in expected]
    answers = {name: ask(engine, questions) for name, engine in engines.items()}
    report = {name: score(given, sets) for name, given in answers.items()}
    passed = all(scores["heldout"]["accuracy"] >= BAR and not scores["readme"]["wrong"] for scores in report.values())
    if options.only is None:
        report |= {f"gguf and {name}": compare(name, engines, answers) for name in engines if name != "gguf"}
    sys.stdout.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
