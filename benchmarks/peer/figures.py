"""What was measured of peers: samples to medians, ratios and tables. Times are seconds, speeds tokens a second."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple


class Heard(NamedTuple):
    """An answer: seconds from the question until it was whole, and its tokens; `None` where nobody knows how many."""

    wall_s: float
    tokens: int | None


class Sample(NamedTuple):
    """What one contender's turn in a round gave; `None` is what it does not tell."""

    first_s: float | None
    """A short question, and an answer of one token."""
    prefill_tps: float | None
    """Tokens of a long question, over the time until its answer of one token was there."""
    decode_tps: float | None
    """Tokens after the first, over the time that a longer answer took more than one of one token."""
    round_s: float | None
    """All three answers; `None` where one ended before its time."""


LOWER = frozenset({"first_s", "round_s"})
"""Those of which less is better."""
COLUMNS = {"first_s": "FIRST TOKEN", "prefill_tps": "READS/S", "decode_tps": "GENERATES/S", "round_s": "ALL THREE"}


class Contender(NamedTuple):
    """One that was measured, with its samples in the order of the rounds."""

    name: str
    version: str
    against: str | None
    """Whom of lf it is held against; `None`: it is lf itself."""
    samples: tuple[Sample, ...]
    note: str = ""
    """What makes its figures other than the rest: an answer that ended early, figures of its own."""


class Group(NamedTuple):
    """All that ran the same files by turns."""

    model: str
    format: str
    prompt_tokens: int
    tokens: int
    contenders: tuple[Contender, ...]
    missing: tuple[tuple[str, str], ...] = ()
    """Peers for such files that were not measured, and why."""

    def find(self, name: str) -> Contender | None:
        """The contender of a name."""
        return next((one for one in self.contenders if one.name == name), None)


def make_sample(prompt_tokens: int, tokens: int, one: Heard, read: Heard, answer: Heard) -> Sample:
    """The figures of a turn: one token after a short question and after a long one, `tokens` after a short one.

    Only the ends of answers count: when a text is seen depends on what it is, for engines hold back parts of letters.
    """
    more_s = answer.wall_s - one.wall_s
    return Sample(
        first_s=one.wall_s,
        prefill_tps=prompt_tokens / read.wall_s,
        decode_tps=(answer.tokens - 1) / more_s if answer.tokens and more_s > 0 else None,
        round_s=one.wall_s + read.wall_s + answer.wall_s if answer.tokens == tokens else None,
    )


def find_median(one: Contender, figure: str) -> float | None:
    """The median of a figure over the rounds; `None` where half of them or more have none."""
    return _find_middle([getattr(sample, figure) for sample in one.samples])


class Ratio(NamedTuple):
    """How many times as good lf's figure is."""

    middle: float
    """The median of the rounds' ratios, each of two runs near each other."""
    clear: bool
    """Whether more than three quarters of the rounds agree on who is better; else it may be the machine's noise."""


def find_ratio(ours: Contender, theirs: Contender, figure: str) -> Ratio | None:
    """What the rounds say; `None` where half of them or more do not."""
    pairs = [(getattr(a, figure), getattr(b, figure)) for a, b in zip(ours.samples, theirs.samples, strict=True)]
    ratios = [(b / a if figure in LOWER else a / b) if a and b else None for a, b in pairs]
    middle = _find_middle(ratios)
    if middle is None:
        return None
    agreeing = sum(one is not None and (one > 1) == (middle > 1) for one in ratios)
    return Ratio(middle, 4 * agreeing > 3 * len(ratios))


def make_rows(group: Group) -> list[list[str]]:
    """The cells of a group: a row for each contender, each figure with lf's ratio to it behind it."""
    rows = []
    for one in group.contenders:
        ours = group.find(one.against) if one.against else None
        cells = [_write(figure, find_median(one, figure), ours, one) for figure in COLUMNS]
        rows.append([one.name, *cells, one.against or ""])
    return rows


def to_markdown(group: Group) -> str:
    """A group as a table for documents."""
    lines = [
        f"**{describe(group)}**",
        "",
        "| | " + " | ".join(name.lower() for name in COLUMNS.values()) + " | lf's engine |",
        "|---" * (len(COLUMNS) + 2) + "|",
        *("| " + " | ".join(row) + " |" for row in make_rows(group)),
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in list_notes(group)), ""])


def list_notes(group: Group) -> list[str]:
    """What has to be known of a table, and who is not in it."""
    doubts = [f"{one.name}: {one.note}" for one in group.contenders if one.note]
    versions = "; ".join(f"{one.name}: {one.version}" for one in group.contenders if one.version)
    return [*([versions] if versions else []), *doubts, *(f"{name}: {why}" for name, why in group.missing)]


def describe(group: Group) -> str:
    """What was asked: `starter, gguf: 64 tokens read, 64 generated`."""
    return f"{group.model}, {group.format}: {group.prompt_tokens} tokens read, {group.tokens} generated"


def to_json(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Groups with every sample, for programs."""
    return [
        {
            **group._asdict(),
            "contenders": [
                {**one._asdict(), "samples": [sample._asdict() for sample in one.samples], **_list_figures(group, one)}
                for one in group.contenders
            ],
            "missing": dict(group.missing),
        }
        for group in groups
    ]


def parse_llama_bench(text: str) -> Sample:
    """The JSON of llama-bench: a list of tests. Source: ggml-org/llama.cpp, `tools/llama-bench/README.md`.

    Raises:
        ValueError: it is none.
    """
    tests = json.loads(text)
    speeds = {bool(test["n_gen"]): float(test["avg_ts"]) for test in tests}
    return Sample(None, speeds.get(False), speeds.get(True), None)


def parse_litert_benchmark(text: str) -> Sample:
    """What `litert-lm benchmark` prints.

    Raises:
        ValueError: the speeds are not in it.
    """
    found = dict(re.findall(r"^(Prefill|Decode) speed:\s+([\d.]+) tokens/s$", text, re.MULTILINE))
    if set(found) != {"Prefill", "Decode"}:
        raise ValueError(text.strip().rpartition("\n")[2] or "it printed nothing")
    return Sample(None, float(found["Prefill"]), float(found["Decode"]), None)


def _write(figure: str, value: float | None, ours: Contender | None, theirs: Contender) -> str:
    if value is None:
        return "-"
    text = f"{value * 1000:.1f} ms" if figure in LOWER else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    ratio = find_ratio(ours, theirs, figure) if ours else None
    return text if ratio is None else f"{text} ({'' if ratio.clear else '~'}x{ratio.middle:.2f})"


def _list_figures(group: Group, one: Contender) -> dict[str, Any]:
    ours = group.find(one.against) if one.against else None
    medians = {figure: find_median(one, figure) for figure in COLUMNS}
    ratios = {figure: find_ratio(ours, one, figure) for figure in COLUMNS} if ours else {}
    told = {figure: ratio and ratio._asdict() for figure, ratio in ratios.items()}
    return {"medians": medians, "lf_times_as_good": told}


def _find_middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if 2 * len(known) > len(values) else None
