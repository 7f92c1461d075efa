"""Drives OpenVINO GenAI's pipeline for several requests at once, step by step, with one request.

Each step reads a part of the prompt or makes a token, so a cancel is seen between steps, and what a prompt has in
common with those before it is still in the cache. It holds no more requests, for the memory that a plan found is that
of one, and every further one would take blocks of the cache from it.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from localfirst.backends.openvino.shared import Step
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

BLOCK_TOKENS = {"CPU": 32, "GPU": 16}
"""What the cache is divided into. Source: openvinotoolkit/openvino.genai, `device_config.hpp`."""


class StepwiseAnswers:
    """The pipeline for several requests at once, with one."""

    likeliest: int | None = 0

    def __init__(  # noqa: PLR0913, PLR0917 - what the engine's own class takes
        self,
        genai: Any,
        tokenizer: Any,
        path: Path,
        device: str,
        context_tokens: int,
        properties: dict[str, Any],
        *,
        prefill_tokens: int,
    ) -> None:
        block_tokens = BLOCK_TOKENS[device.partition(".")[0]]
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = prefill_tokens
        scheduler.max_num_seqs = 1
        scheduler.num_kv_blocks = _count_blocks(context_tokens, block_tokens)
        scheduler.enable_prefix_caching = True
        self._genai = genai
        self._open = partial(genai.ContinuousBatchingPipeline, str(path), tokenizer, scheduler, device, **properties)
        self._pipeline: Any = self._open()
        self._make_past = partial(_Past, block_tokens, context_tokens)
        self._past = self._make_past()
        self._requests = 0
        self.prompt_tokens = context_tokens

    def count_cached(self, prompt: Sequence[int]) -> int:
        """Tokens of a prompt that need not be read again."""
        return self._past.count_cached(prompt)

    def run(self, prompt: Any, config: Any) -> Generator[Step | None]:
        """Compute step by step: a token, or `None` for a part of the prompt. Closing it forgets the request.

        Raises:
            EngineError: the engine gave the request up.
        """
        self._requests += 1
        handle = self._pipeline.add_request(self._requests, prompt, config)
        try:
            while True:
                self._pipeline.step()
                if handle.can_read():
                    for output in handle.read().values():
                        yield from map(Step, output.generated_ids, output.generated_log_probs)
                elif handle.get_status() == self._genai.GenerationStatus.RUNNING:
                    yield None
                else:
                    raise EngineError("OpenVINO GenAI gave the answer up", detail=f"status: {handle.get_status()}")
        finally:
            self._end(handle)

    def score(self, tokens: list[int], prompt: Any, config: Any, cancelled: Callable[[], bool]) -> list[float]:
        """The logarithms of how likely each token but the first is; none where it was cancelled.

        The engine tells nothing of tokens that it finds in its cache, so one that would find some is begun anew.

        Raises:
            EngineError: the engine gave the request up, or did not tell of all.
        """
        if self.count_cached(tokens):
            del self._pipeline
            self._pipeline, self._past = self._open(), self._make_past()
        found: list[float] = []
        self._requests += 1
        handle = self._pipeline.add_request(self._requests, prompt, config)
        try:
            while not found and not cancelled():
                self._pipeline.step()
                if handle.can_read():
                    found = [one for output in handle.read().values() for one in output.generated_log_probs]
                elif handle.get_status() != self._genai.GenerationStatus.RUNNING:
                    raise EngineError("OpenVINO GenAI gave the text up", detail=f"status: {handle.get_status()}")
        finally:
            self._end(handle)
            self.remember(tokens if found else [])
        if found and len(found) != len(tokens) + 1:  # the last is that of a token which is drawn after all
            raise EngineError("OpenVINO GenAI did not tell of all tokens", detail=f"{len(found) - 1} of {len(tokens)}")
        return found[1:-1]

    def _end(self, handle: Any) -> None:
        """Let the engine forget a request."""
        handle.cancel()
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    def remember(self, computed: list[int]) -> None:
        """Take note of what was computed; empty where nobody knows how far that came."""
        self._past.add(computed)

    def close(self) -> None:
        """Free the pipeline."""
        del self._pipeline


class _Past:
    """What was computed before, as far as the engine still keeps it: it finds what a prompt has in common with that.

    The engine does not say how much it found. It looks for whole blocks, and for the last one of an answer as it was
    left; of blocks that nothing uses it gives up the oldest. Found with one token a step, where steps can be counted.
    """

    def __init__(self, block_tokens: int, context_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._blocks = _count_blocks(context_tokens, block_tokens)
        self._texts: deque[list[int]] = deque()

    def count_cached(self, prompt: Sequence[int]) -> int:
        """Tokens of a prompt that need not be read again; the last one always is, for its logits."""
        return min(max((self._count_common(text, prompt) for text in self._texts), default=0), len(prompt) - 1)

    def add(self, computed: list[int]) -> None:
        """Remember what was computed, and forget what had to make room for it; nothing is known if that is empty."""
        self._texts.append(computed)
        if not computed:
            self._texts.clear()
        while sum(_count_blocks(len(text), self._block_tokens) for text in self._texts) > self._blocks:
            self._texts.popleft()

    def _count_common(self, text: Sequence[int], prompt: Sequence[int]) -> int:
        differing = (place for place, (ours, theirs) in enumerate(zip(text, prompt, strict=False)) if ours != theirs)
        common = next(differing, min(len(text), len(prompt)))
        return common if common == len(text) else common // self._block_tokens * self._block_tokens


def _count_blocks(tokens: int, block_tokens: int) -> int:
    """Blocks of the cache for a context, and one for the token that is being made."""
    return -(-tokens // block_tokens) + 1
