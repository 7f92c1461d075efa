"""What 4 bits cost the starter, trained on their grid (QAT) and rounded afterwards (PTQ), on questions new to it.

    python tools/starter/build.py --work WORK      # 25 minutes; keeps the weights in 32 bits, before QAT and after
    python -m benchmarks.quality WORK [--write docs]

The model is asked the held-out questions of `tools/starter`, in the form that it knows, and its engine tells how likely
the right answer is: the control token that names the intent, which is the choice, and the words after it. Of questions
themselves nothing is measured, for it never learned to write them. The engine is llama-cpp-python where
`LF_RUNTIME_LLAMA_NATIVE` names a Python that has it, else xllamacpp, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from localfirst.bench import quality
from localfirst.cli.report.charts import Bar, Bars
from localfirst.cli.report.svg import draw
from localfirst.conversation import Scores
from localfirst.services.bench.quality import score
from localfirst.worker import protocol
from localfirst.worker.client import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.bench.quality import Comparison, Quality

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tools/starter"
SHIPPED = ROOT / "src/localfirst/starter/gguf/starter-q4_0.gguf"
CONTEXT_TOKENS = 512
COLUMNS = (
    "weights",
    "right choices",
    "perplexity of the choice",
    "of whole answers",
    "loss by rounding, a choice",
    "KL by rounding, a choice (at least)",
    "same choice",
)
STYLE = (
    "<style>svg{max-width:40rem;background:#fff}text{font:12px system-ui,sans-serif;fill:#1b1d21}"
    ".c0{fill:#0072b2}.c1{fill:#d55e00}.c2{fill:#009e73}.c3{fill:#cc79a7}.whisker{stroke:#1b1d21;stroke-width:1.2}"
    "</style>"
)


class Build(NamedTuple):
    """A file, and the one that it was rounded from."""

    name: str
    path: Path
    unrounded: str | None = None


class Found(NamedTuple):
    """What was found of a build: of the choices alone, and of whole answers."""

    build: Build
    choice: Quality
    answer: Quality
    rounding: tuple[Comparison, Comparison] | None
    """Against what it was rounded from."""
    right: float
    """Share of choices that are the right one."""


class Told(NamedTuple):
    """A model's scores of all conversations: of the choices, and of whole answers, with the tokens."""

    choice: Scores
    answer: Scores
    choice_tokens: list[int]
    answer_tokens: list[int]


def main() -> int:
    """Measure, print the table, and with `--write` keep it with the plot."""
    parser = argparse.ArgumentParser(description="What 4 bits cost the starter, by QAT and by PTQ")
    parser.add_argument("work", type=Path, help="the work folder of tools/starter/build.py")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write quality-starter.md and .svg there")
    asked = parser.parse_args()
    builds = (
        Build("float, before QAT", asked.work / "ptq/starter-f32.gguf"),
        Build("PTQ: that, rounded to 4 bits", asked.work / "ptq/gguf/starter-q4_0.gguf", "float, before QAT"),
        Build("float, after QAT, off its grid", asked.work / "starter-f32.gguf"),
        Build("QAT: the starter, 4 bits", SHIPPED, "float, after QAT, off its grid"),
    )
    if missing := [str(build.path) for build in builds if not build.path.is_file()]:
        make = f"python tools/starter/build.py --work {asked.work}"
        sys.stderr.write(f"missing: {', '.join(missing)}\nMake them: {make}\n")
        return 2
    conversations = list(read_conversations())
    told = {build.name: ask(build, conversations) for build in builds}
    found = [find(build, told) for build in builds]
    table = render(found, len(conversations))
    sys.stdout.write(table)
    if asked.write is not None:
        (asked.write / "quality-starter.svg").write_text(plot(found), encoding="utf-8")
        (asked.write / "quality-starter.md").write_text(table, encoding="utf-8")
    return 0


def read_conversations() -> Iterator[tuple[str, str]]:
    """What is asked, and what has to be answered, of every question that no training had: held-out and fresh ones."""
    sys.path.insert(0, str(TOOLS))
    import chat  # noqa: PLC0415 - a folder of scripts, which are importable from here on
    import phrasings  # noqa: PLC0415

    intents = {intent.id: intent for intent in phrasings.load()}
    fresh: dict[str, list[str]] = yaml.safe_load((TOOLS / "fresh.yaml").read_text(encoding="utf-8"))
    for name, intent in intents.items():
        for question in (*intent.heldout, *fresh.get(name, ())):
            yield chat.prompt(question), f"{chat.intent_token(name)}{intent.answer}{chat.END}"


def ask(build: Build, conversations: Sequence[tuple[str, str]]) -> Told:
    """Let a build score every answer after its question."""
    python = os.environ.get("LF_RUNTIME_LLAMA_NATIVE")
    backend = "llama-cpp-python" if python else "xllamacpp"
    choices, answers = list[Scores](), list[Scores]()
    choice_tokens, answer_tokens = list[int](), list[int]()
    with Worker(python or sys.executable) as worker:
        worker.load(protocol.Load(backend, str(build.path), CONTEXT_TOKENS, threads=2, placement="cpu"))
        for prompt, answer in conversations:
            before, after = worker.tokenize(prompt), worker.tokenize(answer)
            scores = score(worker, (*before, *after), quality.LIKELIEST)
            start = len(before) - 1  # there is no score of the first token
            answers.append(cut(scores, start, None))
            choices.append(cut(scores, start, start + 1))
            answer_tokens += after
            choice_tokens.append(after[0])
    return Told(quality.join(choices), quality.join(answers), choice_tokens, answer_tokens)


def cut(scores: Scores, begin: int, end: int | None) -> Scores:
    """Some places of scores."""
    return Scores(scores.log_probs[begin:end], scores.likeliest[begin:end])


def find(build: Build, told: dict[str, Told]) -> Found:
    """What the scores say."""
    mine = told[build.name]
    rounding = None
    if build.unrounded is not None:
        base = told[build.unrounded]
        rounding = (
            quality.compare(mine.choice, base.choice, mine.choice_tokens),
            quality.compare(mine.answer, base.answer, mine.answer_tokens),
        )
    best = [place[0][0] for place in mine.choice.likeliest]
    right = sum(one == other for one, other in zip(best, mine.choice_tokens, strict=True)) / len(best)
    return Found(build, quality.measure(mine.choice), quality.measure(mine.answer), rounding, right)


def render(found: Sequence[Found], questions: int) -> str:
    """The table."""
    tokens = found[0].answer.tokens
    lines = [
        f"{questions} questions, {tokens:,} tokens of answers; ± is one standard error, KL and loss are in nats.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(render_row(one) for one in found),
    ]
    return "\n".join(lines) + "\n"


def render_row(one: Found) -> str:
    """One build."""
    choice, answer = one.choice.perplexity, one.answer.perplexity
    cells = [
        one.build.name,
        f"{one.right:.1%}",
        f"{choice.value:.3f} ± {choice.error:.3f}",
        f"{answer.value:.4f} ± {answer.error:.4f}",
    ]
    if one.rounding is None or (divergence := one.rounding[0].divergence) is None:
        return f"| {' | '.join([*cells, '', '', ''])} |"
    rounding = one.rounding[0]
    same = rounding.same_best.value if rounding.same_best else 0
    loss = f"{rounding.excess.value:+.4f} ± {rounding.excess.error:.4f}"
    return f"| {' | '.join([*cells, loss, f'{divergence.value:.4f} ± {divergence.error:.4f}', f'{same:.1%}'])} |"


def plot(found: Sequence[Found]) -> str:
    """Bars of the perplexities of the choice, with two standard errors to either side."""
    bars = []
    for number, one in enumerate(found):
        cost, error = one.choice.cost.value, 2 * (one.choice.cost.error or 0)
        name = f"{one.build.name}"
        bars.append(Bar(name, exp(cost), exp(cost - error), exp(cost + error), (), f"{exp(cost):.3f}", number))
    about = "The smaller the better; 1 is certain of the right one. The lines are two standard errors to either side."
    drawn = draw(Bars("Perplexity of the choice, of questions never trained on", about, tuple(bars)), 1)
    head, _, rest = drawn.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{STYLE}{rest}\n'


if __name__ == "__main__":
    sys.exit(main())
