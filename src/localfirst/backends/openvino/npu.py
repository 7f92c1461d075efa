"""Drives OpenVINO GenAI's pipeline for one answer at a time, the only one that computes on Intel's NPUs.

An NPU computes graphs of fixed sizes, so the two parts of the context are fixed when a model is loaded: the tokens that
a prompt may have, and at least as many as an answer may. The pipeline calls back with every token from inside a call
that ends with the answer; it cannot be stopped while it reads the prompt. Source: openvino, "OpenVINO GenAI on NPU".
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from localfirst.backends.openvino.shared import Step
from localfirst.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

ANSWER_TOKENS = 512
"""The most that is kept for an answer; of a short context it is half."""
POLL_S = 0.05
"""How often a cancel is looked for while the engine is busy."""


class WholeAnswers:
    """The pipeline, with one answer at a time, each computed in a thread of its own."""

    likeliest: int | None = None
    """It hands over tokens, and nothing of how likely they were."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the engine's own class takes
        self, genai: Any, tokenizer: Any, path: Path, device: str, context_tokens: int, properties: dict[str, Any]
    ) -> None:
        kept = min(ANSWER_TOKENS, context_tokens // 2)
        self.prompt_tokens = context_tokens - kept
        if device.startswith("NPU"):
            properties = properties | {"MAX_PROMPT_LEN": self.prompt_tokens, "MIN_RESPONSE_LEN": kept}
        self._genai = genai
        self._pipeline: Any = genai.LLMPipeline(str(path), tokenizer, device, **properties)
        self._thread: threading.Thread | None = None

    def count_cached(self, _: Sequence[int]) -> int:
        """Nothing: an answer begins afresh."""
        return 0

    def run(self, prompt: Any, config: Any) -> Generator[Step | None]:
        """Compute: a token, or `None` where there is none yet. Closing it lets the engine stop at its next token.

        Raises:
            EngineError: the engine failed.
        """
        self._wait()
        tokens: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()
        stopped = threading.Event()
        self._thread = threading.Thread(target=self._compute, args=(prompt, config, tokens, stopped), daemon=True)
        self._thread.start()
        try:
            while True:
                try:
                    token = tokens.get(timeout=POLL_S)
                except queue.Empty:
                    yield None
                    continue
                if token is None:
                    raise EngineError("OpenVINO GenAI gave the answer up")
                if isinstance(token, Exception):
                    raise EngineError("OpenVINO GenAI failed while answering", detail=str(token)) from token
                yield Step(token)
        finally:
            stopped.set()

    def remember(self, _: list[int]) -> None:
        """Nothing is kept from one answer to the next."""

    def score(self, tokens: list[int], prompt: Any, config: Any, cancelled: Callable[[], bool]) -> list[float]:  # noqa: ARG002
        """Refuse: this pipeline tells of what it draws alone.

        Raises:
            EngineError: always.
        """
        raise EngineError(
            "OpenVINO GenAI does not tell on an NPU how likely a given text is", hint="Take another device: `--device`"
        )

    def close(self) -> None:
        """Free the pipeline, once the engine has ended what was cancelled."""
        self._wait()
        del self._pipeline

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _compute(
        self, prompt: Any, config: Any, tokens: queue.SimpleQueue[int | Exception | None], stopped: threading.Event
    ) -> None:
        genai = self._genai

        class Streamer(genai.StreamerBase):  # type: ignore[misc, name-defined]  # the engine calls only such ones
            def write(self, token: int | list[int]) -> Any:
                for one in [token] if isinstance(token, int) else token:
                    tokens.put(int(one))
                return genai.StreamingStatus.CANCEL if stopped.is_set() else genai.StreamingStatus.RUNNING

            def end(self) -> None:
                """Nothing is left to write."""

        try:
            self._pipeline.generate(prompt, config, Streamer())
        except Exception as error:  # noqa: BLE001 - the border of a thread: what is not handed over is lost
            tokens.put(error)
        else:
            tokens.put(None)
