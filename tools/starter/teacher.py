"""A classifier of bags of words, from which the network learns what questions mean that no template gives.

A small network trained on templates learns their order of words by heart and fails on other phrasings. A linear
classifier over words, pairs of words and parts of words cannot do that, and names 95 % of the held-out intents. So the
network learns its opinion, of templates and of mixtures: how words decide, whatever the sentence.
"""

from __future__ import annotations

import random
import re
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from grammar import normalize
from phrasings import heldout_keys, noisy
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phrasings import Intent

BUCKETS, WIDTH = 1 << 17, 128
STEPS, BATCH, RATE = 1500, 512, 5e-3
WORD = re.compile(r"--?[a-z-]+|[a-z_]+|\d+|\S")
PART_LETTERS = 4


def find_features(question: str) -> list[int]:
    """Hashed words, pairs of words, and runs of four letters."""
    words = WORD.findall(question.lower())
    texts = [*words, *map(" ".join, pairwise(words))]
    for word in words:
        framed = f"<{word}>"
        texts += [f"#{framed[at : at + PART_LETTERS]}" for at in range(max(1, len(framed) - PART_LETTERS + 1))]
    return [zlib.crc32(text.encode()) % BUCKETS for text in texts]


class Teacher(torch.nn.Module):
    """Mean of feature vectors, then a linear layer: one score an intent."""

    def __init__(self, intents: Sequence[Intent], seed: int) -> None:
        super().__init__()
        self.intents, self.rng = intents, random.Random(seed)  # noqa: S311 - reproducible on purpose
        self.weights, self.forbidden = [intent.weight for intent in intents], heldout_keys(intents)
        self.bag = torch.nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean")
        self.head = torch.nn.Linear(WIDTH, len(intents))

    def forward(self, questions: Sequence[str]) -> torch.Tensor:
        """Scores `[questions, intents]`."""
        features = [find_features(question) for question in questions]
        starts = [0]
        for one in features[:-1]:
            starts.append(starts[-1] + len(one))
        flat = torch.tensor([number for one in features for number in one])
        scores: torch.Tensor = self.head(self.bag(flat, torch.tensor(starts)))
        return scores

    def train_on_templates(self, log: Callable[[str], None]) -> None:
        """Learn from noisy questions of all intents."""
        numbers = range(len(self.intents))
        tool = torch.optim.Adam(self.parameters(), lr=RATE)
        for step in range(STEPS):
            tool.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            targets = self.rng.choices(numbers, self.weights, k=BATCH)
            questions = [self.ask(self.intents[number]) for number in targets]
            loss = functional.cross_entropy(self(questions), torch.tensor(targets))
            loss.backward()
            tool.step()
            tool.zero_grad()
        log(f"teacher: loss {loss.item():.3f}")

    def ask(self, intent: Intent) -> str:
        """A noisy question of a template, which is none of the held-out ones."""
        while normalize(question := noisy(intent.question(self.rng), self.rng)) in self.forbidden:
            pass
        return question

    @torch.no_grad()
    def judge(self, questions: Sequence[str]) -> torch.Tensor:
        """The probability of each intent for each question, `[questions, intents]`."""
        return self(questions).softmax(-1)


def cross(first: str, second: str, rng: random.Random) -> str:
    """The beginning of one question and the end of another; sometimes a few words of both in any order."""
    words, others = first.split(), second.split()
    if rng.random() < 0.3:
        both = words + others
        return " ".join(rng.sample(both, min(len(both), rng.randint(2, 8))))
    kept, taken = rng.randint(0, len(words)), rng.randint(0, len(others))
    return " ".join(words[:kept] + others[taken:]) or first
