"""Train the starter model: a float phase, then quantization-aware training on the Q4_0 and Q8_0 grids.

Rows are packed conversations of unrelated turns, one to four and sometimes many; attention does not cross from one
conversation to the next, and only answers are learned. In the later part many answers are cut after their first
tokens: what is hard is to choose the answer, not to finish it, and short answers let more questions into the same time.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import chat
import torch
from grammar import normalize
from muon import Muon
from phrasings import heldout_keys, noisy
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model import Llama
    from phrasings import Intent
    from tokenizers import Tokenizer

TURNS, LONG_TURNS = (1, 1, 1, 2, 2, 3, 4), (2, 5, 10, 20, 40, 80)
LONG_EVERY = 5
SYSTEM_SHARE, CUT_SHARE, CUT_TOKENS = 0.03, 0.88, 8
SYSTEM_MESSAGES = ("You are a helpful assistant.", "Be brief.", "You are lf's assistant.", "Answer politely.", "TEXT")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result, besides the data."""

    seed: int = 7
    rows: int = 16
    row_tokens: int = 256
    long_row_tokens: int = 2048
    steps: int = 1150
    quantized_from: int = 750
    rate: float = 3e-3
    muon_rate: float = 1e-2
    dropout: float = 0.05


class Stream:
    """Endless packed rows of conversations."""

    def __init__(self, intents: Sequence[Intent], tokenizer: Tokenizer, recipe: Recipe) -> None:
        self.rng = random.Random(recipe.seed)  # noqa: S311 - reproducible on purpose
        self.intents, self.weights = intents, [intent.weight for intent in intents]
        self.forbidden = heldout_keys(intents)
        self.encode = lambda text: tokenizer.encode(text).ids
        self.ids = {name: tokenizer.token_to_id(name) for name in chat.SPECIAL}
        self.answers = {intent.id: self.encode(intent.answer) for intent in intents}
        self.recipe = recipe

    def turn(self, cut_share: float) -> tuple[list[int], list[int]]:
        """Token ids of one question with its answer, maybe cut, and 1 where the token is to be learned."""
        intent = self.rng.choices(self.intents, self.weights)[0]
        question = noisy(intent.question(self.rng), self.rng)
        while normalize(question) in self.forbidden:
            question = noisy(intent.question(self.rng), self.rng)
        answer = self.answers[intent.id]
        end = self.ids[chat.END]
        head = [self.ids[chat.USER], *self.encode(question), self.ids[chat.END], self.ids[chat.ASSISTANT]]
        if self.rng.random() < cut_share:
            answer = answer[:CUT_TOKENS]
            return [*head, *answer, end], [0] * len(head) + [1] * len(answer) + [0]
        return [*head, *answer, end], [0] * len(head) + [1] * (len(answer) + 1)

    def conversation(self, cut_share: float, turns: Sequence[int]) -> tuple[list[int], list[int]]:
        """As many turns as one of `turns`."""
        ids, learn = [], []
        if self.rng.random() < SYSTEM_SHARE:
            ids = [self.ids[chat.SYSTEM], *self.encode(self.rng.choice(SYSTEM_MESSAGES)), self.ids[chat.END]]
            learn = [0] * len(ids)
        for _ in range(self.rng.choice(turns)):
            more_ids, more_learn = self.turn(cut_share)
            ids, learn = ids + more_ids, learn + more_learn
        return ids, learn

    def batch(self, cut_share: float, long: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids and learn flags `[rows, tokens + 1]`, and the attention mask of the first `tokens`.

        A `long` batch has few long rows, with conversations up to the whole context.
        """
        tokens = self.recipe.long_row_tokens if long else self.recipe.row_tokens
        rows, size = self.recipe.rows * self.recipe.row_tokens // tokens, tokens + 1
        ids = torch.zeros(rows, size, dtype=torch.long)
        learn, owner = torch.zeros_like(ids), torch.zeros_like(ids)
        for row in range(rows):
            at, number = 0, 0
            while at < size:
                some, flags = self.conversation(cut_share, LONG_TURNS if long else TURNS)
                some, flags = some[: size - at], flags[: size - at]
                end = at + len(some)
                ids[row, at:end], learn[row, at:end] = torch.tensor(some), torch.tensor(flags)
                number += 1
                owner[row, at:end] = number
                at = end
        owner = owner[:, :-1]
        mask = (owner[:, :, None] == owner[:, None, :]) & torch.ones(size - 1, size - 1, dtype=torch.bool).tril()
        return ids, learn, mask[:, None]


def rate_at(step: int, recipe: Recipe) -> float:
    """Share of the peak rate: a short warm-up, flat, then a linear way down over the last 60 %."""
    start = recipe.steps * 0.4
    return min(1.0, (step + 1) / 40, max(0.02, 1 - (step - start) / (recipe.steps - start)))


def optimizers(network: Llama, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the embedding and the norms."""
    matrices = [weight for name, weight in network.named_parameters() if weight.ndim == 2 and name != "embed"]
    others = [weight for name, weight in network.named_parameters() if weight.ndim != 2 or name == "embed"]
    return [
        Muon(matrices, lr=recipe.muon_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def train(
    network: Llama, stream: Stream, recipe: Recipe, log: Callable[[str], None], before_qat: Callable[[Llama], None]
) -> None:
    """Train `network` in place; `before_qat` sees it once, when the float phase ends."""
    torch.manual_seed(recipe.seed)
    tools = optimizers(network, recipe)
    peaks = [tool.param_groups[0]["lr"] for tool in tools]
    network.dropout, started, mean = recipe.dropout, time.monotonic(), math.nan
    network.train()
    for step in range(recipe.steps):
        if step == recipe.quantized_from:
            before_qat(network)
            network.quantize(True)
            network.train()
        share = rate_at(step, recipe)
        for tool, peak in zip(tools, peaks, strict=True):
            tool.param_groups[0]["lr"] = peak * share
        ids, learn, mask = stream.batch(
            CUT_SHARE if step > recipe.steps // 8 else 0.0, long=step % LONG_EVERY == LONG_EVERY - 1
        )
        keep = learn[:, 1:].bool()
        loss = functional.cross_entropy(network(ids[:, :-1], mask, keep), ids[:, 1:][keep])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for tool in tools:
            tool.step()
            tool.zero_grad(set_to_none=True)
        mean = loss.item() if math.isnan(mean) else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 0 or step == recipe.steps - 1:
            log(f"step {step:5d}  loss {mean:.4f}  rate x{share:.2f}  {time.monotonic() - started:6.0f} s")
    network.eval()
