"""Train the starter model: a float phase, then quantization-aware training on the Q4_0 and Q8_0 grids.

An answer begins with a control token, which no engine shows: the intent that it answers. So the choice, which is hard,
is made once and as a whole, and telling the answer, which is easy, follows from it. Learned by its words alone ("Run
`lf model ...` begins many answers), a choice is made in pieces, and 86 % of the held-out questions were answered right.

Rows are packed conversations of unrelated turns, one to four and sometimes many; attention does not cross from one
conversation to the next. In most turns the intent is learned, from the teacher's opinion of all intents; in some the
answer of an intent drawn at random; and some are as a chat remembers them, with the answer and without the token.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import chat
import torch
from grammar import normalize
from muon import Muon
from phrasings import heldout_keys, noisy
from teacher import cross
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model import Llama
    from teacher import Teacher
    from tokenizers import Tokenizer

TURNS, LONG_TURNS = (1, 1, 1, 2, 2, 3, 4), (2, 5, 10, 20, 40, 80)
LONG_EVERY = 5
MIXTURE_SHARE = 0.4
TURNS_AT_ONCE = 512
TOLD_SHARE, REMEMBERED_SHARE, SYSTEM_SHARE = 0.12, 0.04, 0.03
SYSTEM_MESSAGES = ("You are a helpful assistant.", "Be brief.", "You are lf's assistant.", "Answer politely.", "TEXT")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result, besides the data."""

    seed: int = 7
    rows: int = 16
    row_tokens: int = 256
    long_row_tokens: int = 2048
    steps: int = 2200
    quantized_from: int = 1500
    rate: float = 3e-3
    muon_rate: float = 1e-2


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with its answer or a part of it, or a system message.

    `ids` of tokens; `told` of them at the end are the answer's, to be learned. Where the intent is to be learned,
    `asked` is how many there are before its token, and `opinion` `[intents]` is the teacher's of it.
    """

    ids: list[int]
    told: int = 0
    asked: int = 0
    opinion: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows.

    `ids` and `told` (whether a token is to be learned) `[rows, tokens + 1]`, the attention `mask` of the first
    `tokens`; `ends` the row and the column of the last token before each intent's, with the `opinions`
    `[ends, intents]`.
    """

    ids: torch.Tensor
    told: torch.Tensor
    mask: torch.Tensor
    ends: tuple[torch.Tensor, torch.Tensor]
    opinions: torch.Tensor


class Stream:
    """Endless packed rows of conversations."""

    def __init__(self, teacher: Teacher, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self.rng = random.Random(recipe.seed)  # noqa: S311 - reproducible on purpose
        self.teacher, self.recipe = teacher, recipe
        self.intents, self.weights = teacher.intents, [intent.weight for intent in teacher.intents]
        self.numbers = {intent.id: number for number, intent in enumerate(self.intents)}
        self.forbidden = heldout_keys(self.intents)
        self.encode = lambda text: tokenizer.encode(text).ids
        self.ids = {name: tokenizer.token_to_id(name) for name in chat.SPECIAL}
        self.answers = [self.encode(intent.answer) for intent in self.intents]
        self.tokens = [tokenizer.token_to_id(chat.intent_token(intent.id)) for intent in self.intents]
        self.ready: list[Turn] = []

    def ask(self) -> tuple[str, int | None]:
        """A question of a template with its intent's number, or pieces of two questions, whose intent is unknown."""
        first, second = self.rng.choices(self.intents, self.weights, k=2)
        question, number = first.question(self.rng), self.numbers[first.id]
        if self.rng.random() < MIXTURE_SHARE:
            question, number = cross(question, second.question(self.rng), self.rng), None
        question = noisy(question, self.rng)
        return (question, number) if normalize(question) not in self.forbidden else self.ask()

    def make_turns(self, count: int) -> list[Turn]:
        """Turns to pack."""
        asked = [self.ask() for _ in range(count)]
        opinions = self.teacher.judge([question for question, _ in asked])
        return [
            self.make_turn(question, opinion if number is None else (opinion + one_hot(number, len(opinion))) / 2)
            for (question, number), opinion in zip(asked, opinions, strict=True)
        ]

    def make_turn(self, question: str, opinion: torch.Tensor) -> Turn:
        """One of the three kinds."""
        end, drawn, intent = self.ids[chat.END], self.rng.random(), self.rng.randrange(len(self.intents))
        head = [self.ids[chat.USER], *self.encode(question), end, self.ids[chat.ASSISTANT]]
        answer = [*self.answers[intent], end]
        if drawn < TOLD_SHARE:
            return Turn([*head, self.tokens[intent], *answer], told=len(answer))
        if drawn < TOLD_SHARE + REMEMBERED_SHARE:
            return Turn([*head, *answer])
        return Turn([*head, self.tokens[int(opinion.argmax())], end], asked=len(head), opinion=opinion)

    def conversation(self, turns: Sequence[int]) -> list[Turn]:
        """As many turns as one of `turns`, sometimes after a system message."""
        count, pieces = self.rng.choice(turns), []
        if self.rng.random() < SYSTEM_SHARE:
            text = self.encode(self.rng.choice(SYSTEM_MESSAGES))
            pieces = [Turn([self.ids[chat.SYSTEM], *text, self.ids[chat.END]])]
        for _ in range(count):
            if not self.ready:
                self.ready = self.make_turns(TURNS_AT_ONCE)
            pieces.append(self.ready.pop())
        return pieces

    def batch(self, long: bool) -> Batch:
        """A `long` batch has few long rows, with conversations up to the whole context."""
        tokens = self.recipe.long_row_tokens if long else self.recipe.row_tokens
        rows, size = self.recipe.rows * self.recipe.row_tokens // tokens, tokens + 1
        ids = torch.zeros(rows, size, dtype=torch.long)
        told, owner = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids)
        ends: list[tuple[int, int]] = []
        opinions: list[torch.Tensor] = []
        for row in range(rows):
            at, number = 0, 0
            while at < size:
                number += 1
                for turn in self.conversation(LONG_TURNS if long else TURNS):
                    end = min(at + len(turn.ids), size)
                    ids[row, at:end] = torch.tensor(turn.ids[: end - at])
                    told[row, at + len(turn.ids) - turn.told : at + len(turn.ids)] = True
                    owner[row, at:end] = number
                    if turn.opinion is not None and at + turn.asked <= tokens:
                        ends.append((row, at + turn.asked - 1))
                        opinions.append(turn.opinion)
                    at = end
        owner = owner[:, :-1]
        mask = (owner[:, :, None] == owner[:, None, :]) & torch.ones(tokens, tokens, dtype=torch.bool).tril()
        row_index, column_index = torch.tensor(ends).T
        return Batch(ids, told, mask[:, None], (row_index, column_index), torch.stack(opinions))


def one_hot(number: int, count: int) -> torch.Tensor:
    """Zeros but for a one at `number`."""
    return functional.one_hot(torch.tensor(number), count).float()


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


def find_losses(network: Llama, batch: Batch, tokens: torch.Tensor) -> torch.Tensor:
    """How badly the intents are named, by their `tokens`, and the answers told."""
    seen = network(batch.ids[:, :-1], batch.mask)
    named = functional.log_softmax(network.head(seen[batch.ends]), -1)[:, tokens]
    told = batch.told[:, 1:]
    return torch.stack(
        (
            -(batch.opinions * named).sum(-1).mean(),
            functional.cross_entropy(network.head(seen[told]), batch.ids[:, 1:][told]),
        )
    )


def train(
    network: Llama, stream: Stream, recipe: Recipe, log: Callable[[str], None], before_qat: Callable[[Llama], None]
) -> None:
    """Train `network` in place; `before_qat` sees it once, when the float phase ends."""
    torch.manual_seed(recipe.seed)
    tools, tokens = optimizers(network, recipe), torch.tensor(stream.tokens)
    peaks = [tool.param_groups[0]["lr"] for tool in tools]
    started, means = time.monotonic(), None
    network.train()
    for step in range(recipe.steps):
        if step == recipe.quantized_from:
            before_qat(network)
            network.quantize(True)
            network.train()
        share = rate_at(step, recipe)
        for tool, peak in zip(tools, peaks, strict=True):
            tool.param_groups[0]["lr"] = peak * share
        losses = find_losses(network, stream.batch(long=step % LONG_EVERY == LONG_EVERY - 1), tokens)
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for tool in tools:
            tool.step()
            tool.zero_grad(set_to_none=True)
        means = losses.detach() if means is None else means.lerp(losses.detach(), 0.05)
        if step % 50 == 0 or step == recipe.steps - 1:
            seconds = time.monotonic() - started
            log(f"step {step:5d}  named {means[0]:.4f}  told {means[1]:.4f}  rate x{share:.2f}  {seconds:6.0f} s")
    network.eval()
