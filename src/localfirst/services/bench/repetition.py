"""One repetition of a workload: prompts of an exact length, asked together, and the times that their answers took."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from math import fsum
from typing import TYPE_CHECKING, NamedTuple

from localfirst.bench import texts
from localfirst.bench.values import Sample, Workload
from localfirst.conversation import Answer, Message, Sampling, TextDelta
from localfirst.errors import EngineError, UsageError
from localfirst.services.bench.contenders import FEW_TOKENS
from localfirst.worker import protocol

if TYPE_CHECKING:
    from localfirst.backends.base import LoadedInfo
    from localfirst.hwprobe.energy import Meter
    from localfirst.services.bench.asked import Asked, Scenario
    from localfirst.worker.holder import Holder, Reply

GREEDY = Sampling(temperature=0)
DRAWS = 8
"""Prompts drawn for an engine that reads text only, and refuses ids which are those of no text."""
PROBE_WORDS = 8
LEAST_CACHED = 0.9
"""Share of the depth that has to be in the cache for a workload to begin there: engines keep whole blocks."""
Prompt = tuple[int, ...] | str


class Outcome(NamedTuple):
    """A sample, and what has to be known of it."""

    sample: Sample
    ended_early: int | None = None
    """The fewest tokens that an answer had, where one ended before all that were asked for."""
    prompt_tokens: int = 0
    """Of each prompt, without its depth, as the engine counted it."""


class ShallowError(EngineError):
    """The engine did not keep in its cache what a workload is to begin after."""


class Asker:
    """Asks one worker. Every prompt is new to it, so that nothing of it is in a cache."""

    def __init__(  # noqa: PLR0913 - who is asked what, and how
        self, worker: Holder, info: LoadedInfo, asked: Asked, meter: Meter, *, remote: bool, remembers: bool = False
    ) -> None:
        """`remote`: a server that takes words only; `remembers`: another that may know prompts of an earlier bench."""
        self._worker, self._info, self._asked, self._meter, self._remote = worker, info, asked, meter, remote
        self._drawn = 0
        self._salt = secrets.token_hex(8) if remote or remembers else ""
        self._added = 0
        self._words_per_token = 0.75
        self.endless = info.ignores_end
        """Whether it goes on past an end of its own; of a server that is known once it was asked (`calibrate`)."""

    def calibrate(self) -> None:
        """Find out how many tokens the engine puts before a prompt, or how many words make one where it takes words.

        Raises:
            LfError: it does not answer.
        """
        if not self._remote:
            prompt = self._draw(PROBE_WORDS)
            self._added = self._answer(prompt, 1).usage.prompt_tokens - len(prompt)
            return
        try:
            few = self._count(16)
        except EngineError:
            if not self.endless:
                raise
            self.endless = False  # OpenAI's own API, and others as strict, refuse to be told to go on past an end
            few = self._count(16)
        many = self._count(128)
        if many > few:
            self._added = max(0, round(few - 16 * (many - few) / 112))
            self._words_per_token = 112 / (many - few)

    def repeat(self, workload: Workload, number: int) -> Outcome:
        """One repetition; texts of scenarios are those of its number, so that other benches have the same ones.

        Raises:
            ShallowError: it does not keep a prompt's beginning, and so cannot begin at a depth.
            ContextError: the workload does not fit the context.
            LfError: the engine failed.
        """
        if workload.scenario:
            return self._repeat_scenario(workload, number)
        for left in reversed(range(DRAWS)):
            try:
                return self._repeat_tokens(workload)
            except UsageError:
                if not left or self._remote:
                    raise
        raise AssertionError("the last draw returns or raises")

    def _repeat_tokens(self, workload: Workload) -> Outcome:
        depth = workload.depth_tokens
        tokens = depth + (workload.prompt_tokens or FEW_TOKENS)
        prompts = [self._draw(tokens) for _ in range(workload.concurrency)]
        if depth:
            self._run([self._make(_cut(prompt, depth / tokens), 1) for prompt in prompts])
        requests = [self._make(prompt, workload.generated_tokens or 1) for prompt in prompts]
        outcome = self._measure(workload, requests)
        cached = outcome.sample.cached_tokens
        if cached >= LEAST_CACHED * depth * workload.concurrency:
            return outcome
        if workload.prompt_tokens:
            raise ShallowError(
                f"{self._info.engine} did not keep the {depth} tokens that come before "
                f"({cached // workload.concurrency} were in its cache)"
            )
        return outcome._replace(sample=outcome.sample._replace(energy_j=None))  # some went into what comes before

    def _measure(self, workload: Workload, requests: list[protocol.Complete | protocol.Chat]) -> Outcome:
        before = self._meter.read()
        runs = self._run(requests)
        joules = self._meter.find_joules(before, self._meter.read())
        outcome = _make_outcome(workload, runs)
        return outcome._replace(sample=outcome.sample._replace(energy_j=joules))

    def _repeat_scenario(self, workload: Workload, number: int) -> Outcome:
        scenario = self._asked.find_scenario(workload.scenario or "")
        seeds = [f"{self._salt}{number}-{place}-{workload.concurrency}" for place in range(workload.concurrency)]
        said = [_write(scenario, seed) for seed in seeds]
        chats: list[protocol.Complete | protocol.Chat] = [
            protocol.Chat((Message("user", text),), GREEDY, workload.generated_tokens, ignore_end=self.endless)
            for text in said
        ]
        return self._measure(workload, chats)

    def _draw(self, tokens: int) -> Prompt:
        """A new prompt of so many tokens, those that the engine puts before it included."""
        self._drawn += 1
        seed = f"{self._salt}{self._drawn}"
        wanted = max(1, tokens - self._added)
        if self._remote:
            return texts.draw_words(max(1, round(wanted * self._words_per_token)), seed)
        count = wanted
        while True:
            ids = self._worker.tokenize(texts.draw_words(count, seed))
            if len(ids) >= wanted:
                return ids[:wanted]
            count *= 2

    def _count(self, words: int) -> int:
        """The tokens of a prompt of so many words, as a server counts them."""
        self._drawn += 1
        return self._answer(texts.draw_words(words, f"{self._salt}{self._drawn}"), 1).usage.prompt_tokens

    def _answer(self, prompt: Prompt, tokens: int) -> Answer:
        return self._run([self._make(prompt, tokens)])[0].answer

    def _make(self, prompt: Prompt, tokens: int) -> protocol.Complete | protocol.Chat:
        """Servers elsewhere are asked as a chat: not all of them have another way."""
        if isinstance(prompt, str):
            return protocol.Chat((Message("user", prompt),), GREEDY, tokens, ignore_end=self.endless)
        return protocol.Complete(prompt, GREEDY, max_tokens=tokens, ignore_end=self.endless)

    def _run(self, requests: list[protocol.Complete | protocol.Chat]) -> list[_Run]:
        """Ask all at the same time, and wait for all."""
        if len(requests) == 1:
            return [_follow(self._worker.answer(requests[0]))]
        replies: list[Reply] = []
        with ThreadPoolExecutor(len(requests)) as pool:
            try:
                replies.extend(self._worker.answer(request) for request in requests)
                return list(pool.map(_follow, replies))
            except BaseException:  # Ctrl-C, too: leaving the pool waits for every answer
                for reply in replies:
                    reply.cancel()
                raise


class _Run(NamedTuple):
    """One answer, and when what of it came, by the clock of the asking side."""

    asked_s: float
    arrived_s: tuple[float, ...]
    ended_s: float
    answer: Answer

    @property
    def seen_s(self) -> float | None:
        """When the first token was seen: of an answer of one token without a text, when the answer ended."""
        if self.arrived_s:
            return self.arrived_s[0]
        return self.ended_s if self.answer.usage.completion_tokens == 1 else None

    @property
    def decode_s(self) -> float:
        """The engine's own time from the first token to the last."""
        rate = self.answer.timings.decode_tps
        return (self.answer.usage.completion_tokens - 1) / rate if rate else 0.0

    @property
    def first_s(self) -> float:
        """When the first token was made: its text may have been seen later, together with others."""
        return self.ended_s - self.decode_s


def _follow(reply: Reply) -> _Run:
    asked, arrived = time.perf_counter(), list[float]()
    answer: Answer | None = None
    for piece in reply:
        if isinstance(piece, TextDelta):
            arrived.append(time.perf_counter())
        elif isinstance(piece, Answer):
            answer = piece
    if answer is None or answer.finish_reason == "cancelled":
        raise EngineError("The answer ended before its end")
    return _Run(asked, tuple(arrived), time.perf_counter(), answer)


def _make_outcome(workload: Workload, runs: list[_Run]) -> Outcome:
    """What the answers of a repetition say together."""
    began, ended = min(run.asked_s for run in runs), max(run.ended_s for run in runs)
    usages = [run.answer.usage for run in runs]
    fresh = sum(usage.prompt_tokens - usage.cached_tokens for usage in usages)
    generated = sum(usage.completion_tokens for usage in usages)
    reads = bool(workload.prompt_tokens or workload.scenario)
    sample = Sample(
        wall_s=ended - began,
        prefill_tps=_find_prefill(runs, fresh, began) if reads else None,
        decode_tps=_find_decode(runs, generated, ended) if workload.generated_tokens else None,
        first_token_s=tuple(run.seen_s - run.asked_s for run in runs if run.seen_s is not None),
        gaps_s=tuple(
            after - before for run in runs for before, after in zip(run.arrived_s, run.arrived_s[1:], strict=False)
        ),
        prompt_tokens=fresh if reads else 0,
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        completion_tokens=generated if workload.generated_tokens else 0,
    )
    fewest = min(usage.completion_tokens for usage in usages)
    return Outcome(
        sample,
        fewest if fewest < workload.generated_tokens else None,
        round(fsum(usage.prompt_tokens for usage in usages) / len(usages)) - workload.depth_tokens,
    )


def _find_prefill(runs: list[_Run], fresh: int, began: float) -> float | None:
    """Of one request by the engine's own clock; of several by ours, until the last of them has its first token."""
    if len(runs) == 1:
        return runs[0].answer.timings.prefill_tps
    return fresh / (max(run.first_s for run in runs) - began)


def _find_decode(runs: list[_Run], generated: int, ended: float) -> float | None:
    """Of one request by the engine's own clock; of several by ours, from the first token of all to the last."""
    if len(runs) == 1:
        return runs[0].answer.timings.decode_tps
    after, seconds = generated - len(runs), ended - min(run.first_s for run in runs)
    return after / seconds if after > 0 and seconds > 0 else None


def _write(scenario: Scenario, seed: str) -> str:
    if scenario.text is None:
        return texts.make_scenario(scenario.name, seed)
    return f"{texts.draw_words(3, seed)}\n\n{scenario.text}"  # else it would be found in the cache


def _cut(prompt: Prompt, share: float) -> Prompt:
    """The beginning of a prompt."""
    if isinstance(prompt, str):
        words = prompt.split()
        return " ".join(words[: max(1, round(share * len(words)))])
    return prompt[: max(1, round(share * len(prompt)))]
