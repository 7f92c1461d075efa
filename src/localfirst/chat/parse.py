"""A model's raw text to thinking and answer, as it streams.

Which markers a model writes around its thinking is read off its chat template, by a table; nothing here knows a model's
name. Knows no engine and no wire.
"""

from __future__ import annotations

from dataclasses import dataclass

from localfirst.conversation import TextDelta


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """How a family of models marks its thinking."""

    name: str
    sign: str
    """Text in a chat template that gives the format away."""
    markers: tuple[tuple[str, bool], ...]
    """Each marker with what follows it: thinking (True) or answer (False). Markers are never shown."""
    anywhere: bool = False
    """Markers are special tokens and count everywhere. Otherwise they are plain text, which an answer may quote: then
    thinking opens only before the first word, and what follows its end is all answer."""

    @property
    def openings(self) -> tuple[str, ...]:
        """What thinking begins with."""
        return tuple(marker.rstrip() for marker, reasoning in self.markers if reasoning)

    @property
    def answer(self) -> str:
        """What the answer after the thinking begins with."""
        return next(marker for marker, reasoning in self.markers if not reasoning)

    def is_open(self, prompt: str) -> bool:
        """Whether a prompt ends inside the thinking: its last words are an opening marker."""
        return prompt.rstrip().endswith(self.openings)


def _tags(name: str, opening: str, closing: str, *, anywhere: bool = False) -> ReasoningFormat:
    return ReasoningFormat(name, closing, ((opening, True), (closing, False)), anywhere)


FORMATS = (
    ReasoningFormat(
        "harmony",
        "<|channel|>",
        (
            ("<|channel|>analysis<|message|>", True),
            ("<|channel|>commentary<|message|>", True),
            ("<|channel|>final<|message|>", False),
            ("<|end|>", False),
            ("<|return|>", False),
            ("<|start|>assistant", False),
        ),
        anywhere=True,
    ),
    _tags("gemma-channel", "<|channel>thought\n", "<channel|>", anywhere=True),
    ReasoningFormat(
        "cohere",
        "<|START_THINKING|>",
        (
            ("<|START_THINKING|>", True),
            ("<|END_THINKING|>", False),
            ("<|START_RESPONSE|>", False),
            ("<|END_RESPONSE|>", False),
            ("<|START_TEXT|>", False),
            ("<|END_TEXT|>", False),
        ),
        anywhere=True,
    ),
    _tags("inner", "<|inner_prefix|>", "<|inner_suffix|>", anywhere=True),
    _tags("mistral", "[THINK]", "[/THINK]"),
    _tags("seed", "<seed:think>", "</seed:think>"),
    _tags("minimax", "<mm:think>", "</mm:think>"),
    _tags("think", "<think>", "</think>"),
)
"""The first whose sign a template contains.

Sources: openai/harmony `docs/format.md`; the chat templates of google/gemma-4, CohereForAI/c4ai-command-r7b-12-2024,
swiss-ai/Apertus, mistralai/Ministral-3, ByteDance-Seed/Seed-OSS, MiniMaxAI/MiniMax-M3; `<think>` in those of Qwen,
DeepSeek, SmolLM3, GLM, LFM2 and others.
"""


def find_format(template: str | None) -> ReasoningFormat | None:
    """How the model of this template marks its thinking, or `None` where it does not."""
    return next((row for row in FORMATS if template and row.sign in template), None)


class ReasoningSplitter:
    """Splits one answer, fed in pieces cut anywhere; what comes out does not depend on the cuts.

    Whitespace next to a marker is dropped with it, and two stretches of thinking are a blank line apart.
    """

    def __init__(self, form: ReasoningFormat | None, prompt: str = "") -> None:
        """`prompt` is the rendered prompt: many templates open the thinking there, so that the text starts inside."""
        self._form = form
        self._reasoning = form is not None and form.is_open(prompt)
        self._held = ""
        self._begun = False  # this stretch has shown a character
        self._after_marker = self._reasoning
        self._thought = False  # some thinking has been shown

    @property
    def held(self) -> int:
        """Characters of which it is not certain yet what they are."""
        return len(self._held)

    def feed(self, text: str) -> list[TextDelta]:
        """The pieces that are certain now. A possible beginning of a marker is held back."""
        self._held += text
        return self._take(final=False)

    def flush(self) -> list[TextDelta]:
        """The rest, at the end of the answer."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> list[TextDelta]:
        deltas: list[TextDelta] = []
        while self._held and self._step(deltas, final=final):
            pass
        return deltas

    def _step(self, deltas: list[TextDelta], *, final: bool) -> bool:
        """Emit or drop one stretch of the held text; False when more text is needed to go on."""
        if not self._begun:
            return self._begin(final=final)
        position, marker = self._find_marker()
        if marker is not None:
            self._emit(deltas, self._held[:position].rstrip() if self._reasoning else self._held[:position])
            self._enter(position, *marker)
            return True
        safe = len(self._held) if final else self._safe_length()
        if self._reasoning:  # whitespace before the end of the thinking is not part of it
            safe = len(self._held[:safe].rstrip())
        self._emit(deltas, self._held[:safe])
        self._held = "" if final else self._held[safe:]
        return False

    def _begin(self, *, final: bool) -> bool:
        """At the start of a stretch: skip whitespace, and take a marker before any text."""
        text = self._held.lstrip()
        space = self._held[: len(self._held) - len(text)]
        form = self._form
        if form is not None:
            for marker, reasoning in form.markers:
                if text.startswith(marker):
                    self._enter(len(space), marker, reasoning)
                    return True
            if not final and any(marker.startswith(text) for marker, _ in form.markers):
                return False
            if self._after_marker:
                space = ""
        if not text and (self._reasoning or (form is not None and not final)):
            return False
        if self._reasoning and self._thought:
            space = "\n\n"
        self._held = space + text
        self._begun = True
        return True

    def _enter(self, position: int, marker: str, reasoning: bool) -> None:
        self._held = self._held[position + len(marker) :]
        self._reasoning = reasoning
        self._begun = False
        self._after_marker = True

    def _emit(self, deltas: list[TextDelta], text: str) -> None:
        if text:
            deltas.append(TextDelta(text, self._reasoning))
            self._thought = self._thought or self._reasoning

    def _active(self) -> tuple[tuple[str, bool], ...]:
        """The markers that count in the middle of a stretch."""
        if self._form is None:
            return ()
        if self._form.anywhere:
            return self._form.markers
        return tuple(row for row in self._form.markers if self._reasoning and not row[1])

    def _find_marker(self) -> tuple[int, tuple[str, bool] | None]:
        found = [(position, row) for row in self._active() if (position := self._held.find(row[0])) >= 0]
        return min(found, default=(-1, None), key=lambda hit: hit[0])

    def _safe_length(self) -> int:
        """How much of the held text cannot be part of a marker, whatever comes next."""
        longest = max((len(marker) for marker, _ in self._active()), default=1)
        start = max(0, len(self._held) - longest + 1)
        tails = (at for at in range(start, len(self._held)) if self._starts_marker(self._held[at:]))
        return next(tails, len(self._held))

    def _starts_marker(self, tail: str) -> bool:
        return any(marker.startswith(tail) for marker, _ in self._active())
