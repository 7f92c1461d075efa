"""A model's raw text to thinking, answer and tool calls, as it streams. Knows no engine and no wire."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localfirst.chat import call_formats, parse
from localfirst.conversation import TextDelta, ToolCall

if TYPE_CHECKING:
    from localfirst.chat.call_formats import CallFormat, Tools

SPECIAL = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")
"""What special tokens look like in the markers of both tables."""


class CallSplitter:
    """Takes the calls out of one answer, fed in pieces cut anywhere; what comes out does not depend on the cuts.

    Whitespace next to a call is dropped with it. What begins like a call and is none comes out as the text it was.
    """

    def __init__(self, form: CallFormat | None, tools: Tools = ()) -> None:
        self._form, self._tools = form, tools
        self._held = ""
        self._opening: str | None = None  # of the call that the held text is in, or is about to be
        self._begun = False  # a character of the answer has been shown
        self._after_call = False

    @property
    def held(self) -> int:
        """Characters of which it is not certain yet what they are."""
        return len(self._held)

    def feed(self, text: str) -> list[str | ToolCall]:
        """The pieces that are certain now."""
        if self._form is None:
            return [text] if text else []
        self._held += text
        return self._take(self._form, final=False)

    def flush(self) -> list[str | ToolCall]:
        """The rest, at the end of the answer."""
        return self._take(self._form, final=True) if self._form is not None else []

    def _take(self, form: CallFormat, *, final: bool) -> list[str | ToolCall]:
        out: list[str | ToolCall] = []
        while self._held and self._step(form, out, final=final):
            pass
        return out

    def _step(self, form: CallFormat, out: list[str | ToolCall], *, final: bool) -> bool:
        """Emit or drop one stretch of the held text; False when more text is needed to go on."""
        if self._after_call:
            self._held = self._held.lstrip()
        found = self._find_opening(form)
        if found is None:
            self._emit(out, len(self._held) if final else self._find_safe(form))
            return False
        start, begin = found
        ends = [(at + len(word), at) for word in form.closings if (at := self._held.find(word, begin)) >= 0]
        if not ends and not final:
            self._emit(out, len(self._held[:start].rstrip()))
            return False
        after, end = min(ends, default=(len(self._held), len(self._held)))
        calls = form.read(self._held[begin:end], self._tools)
        if calls is None:
            self._emit(out, after)
            return True
        rest = self._held[after:]
        self._emit(out, len(self._held[:start].rstrip()))
        out += calls
        self._held, self._begun, self._after_call = rest, True, True
        return True

    def _emit(self, out: list[str | ToolCall], size: int) -> None:
        if size:
            out.append(self._held[:size])
            self._held = self._held[size:]
            self._begun, self._after_call = True, False

    def _find_opening(self, form: CallFormat) -> tuple[int, int] | None:
        """Where the first complete opening starts, and where what is read after it does."""
        text = self._held.lstrip()
        if not self._begun and text.startswith(form.leading or "\0"):
            start = len(self._held) - len(text)
            return start, start
        found = [(at + len(word), -len(word), at) for word in form.openings if (at := self._held.find(word)) >= 0]
        end, _, start = min(found, default=(0, 0, -1))
        return None if start < 0 else (start, end)

    def _find_safe(self, form: CallFormat) -> int:
        """How much of the held text cannot be part of an opening, or space before one, whatever comes next."""
        text = self._held.lstrip()
        if not self._begun and any(word.startswith(text) for word in form.leading):
            return 0
        longest = max(map(len, form.openings))
        starts = range(max(0, len(self._held) - longest + 1), len(self._held))
        safe = next((at for at in starts if self._held[at:] and self._starts_opening(form, at)), len(self._held))
        return len(self._held[:safe].rstrip())

    def _starts_opening(self, form: CallFormat, at: int) -> bool:
        return any(word.startswith(self._held[at:]) for word in form.openings)


class AnswerReader:
    """Thinking, answer and calls of one answer, by what its chat template gives away of the model's markers."""

    def __init__(self, template: str | None, prompt: str, tools: Tools = ()) -> None:
        """Calls are only looked for where tools were offered: any other answer may look as it likes."""
        form = call_formats.find_format(template) if tools else None
        self.thinking = parse.find_format(template)
        self._splitter = parse.ReasoningSplitter(self.thinking, prompt)
        self._calls = CallSplitter(form, tools)
        self._calls_first = form is not None and form.before_thinking
        markers = [marker for marker, _ in self.thinking.markers] if self.thinking else []
        markers += [*form.openings, *form.closings, *form.special] if form else []
        self.special = tuple(dict.fromkeys(token for marker in markers for token in SPECIAL.findall(marker)))
        """Special tokens that have to be written out to be read here."""

    @property
    def held(self) -> int:
        """Characters at the end of what was fed of which it is not certain yet what they are."""
        return self._splitter.held + self._calls.held

    def feed(self, text: str) -> list[TextDelta | ToolCall]:
        """The pieces that are certain now."""
        if self._calls_first:
            return self._think(self._calls.feed(text))
        return self._call(self._splitter.feed(text))

    def flush(self) -> list[TextDelta | ToolCall]:
        """The rest, at the end of the answer."""
        if self._calls_first:
            return [*self._think(self._calls.flush()), *self._splitter.flush()]
        return [*self._call(self._splitter.flush()), *self._show(self._calls.flush())]

    def _think(self, pieces: list[str | ToolCall]) -> list[TextDelta | ToolCall]:
        out: list[TextDelta | ToolCall] = []
        for piece in pieces:
            out += [*self._splitter.flush(), piece] if isinstance(piece, ToolCall) else self._splitter.feed(piece)
        return out

    def _call(self, deltas: list[TextDelta]) -> list[TextDelta | ToolCall]:
        out: list[TextDelta | ToolCall] = []
        for delta in deltas:
            out += [delta] if delta.reasoning else self._show(self._calls.feed(delta.text))
        return out

    def _show(self, pieces: list[str | ToolCall]) -> list[TextDelta | ToolCall]:
        return [piece if isinstance(piece, ToolCall) else TextDelta(piece) for piece in pieces]
