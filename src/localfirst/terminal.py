"""Make foreign text inert: what a model, a hub or a template says may be read on a terminal, never drive it.

Removed are control characters (C0 save newline and tab, DEL, C1), whole escape sequences (ECMA-48: CSI, OSC with the
clipboard's OSC 52, DCS, SOS, PM, APC, and the short ones), and Unicode's bidirectional embeddings, overrides and
isolates (UAX 9; "Trojan Source", CVE-2021-42574). A lone surrogate, which no terminal can be sent, becomes U+FFFD.
All else stays: every script, emoji with their joiners, right-to-left marks.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Everything that is not simply shown."""
_SEQUENCE_STARTS = "\x1b\x90\x98\x9b\x9d\x9e\x9f"


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()
    """After ESC, and the spaces to slashes that may follow it."""
    CONTROL = auto()
    """Inside CSI: parameters, then one final character."""
    STRING = auto()
    """Inside OSC, DCS, SOS, PM or APC: anything, up to ST or BEL."""


_AFTER_INTRODUCER = {
    **dict.fromkeys("\x1b", _State.ESCAPE),
    **dict.fromkeys("[\x9b", _State.CONTROL),
    **dict.fromkeys("PX]^_\x90\x98\x9d\x9e\x9f", _State.STRING),
}
"""Where a character leads: ESC or a C1 control in text, the character after ESC otherwise."""
_CONTINUES = {
    _State.ESCAPE: re.compile("[\x20-\x2f]*"),
    _State.CONTROL: re.compile("[\x20-\x3f]*"),
    _State.STRING: re.compile("[^\x00-\x08\x0a-\x1f\x7f\x9c]*"),
}
_FINALS = {
    _State.ESCAPE: re.compile("[\x30-\x7e]"),
    _State.CONTROL: re.compile("[\x40-\x7e]"),
    _State.STRING: re.compile("[\x07\x9c]"),
}
"""What completes a sequence. Any other character aborts it, as in a terminal, and is taken for what it is; in a string
a line's end does, so that a sequence nobody closes cannot swallow the rest of an answer."""


def make_inert(text: str) -> str:
    """The text without anything that a terminal would act on, save newlines and tabs."""
    return InertStream().feed(text)


class InertStream:
    """The same for text that comes in pieces, wherever a sequence is split."""

    def __init__(self) -> None:
        self._state = _State.TEXT

    def feed(self, text: str) -> str:
        """What of this piece may be shown; nothing is held back."""
        shown: list[str] = []
        at = 0
        while at < len(text):
            at = self._pass_text(text, at, shown) if self._state is _State.TEXT else self._pass_sequence(text, at)
        return "".join(shown)

    def flush(self) -> None:
        """Forget a sequence that was begun and never ended: what comes next is another text."""
        self._state = _State.TEXT

    def _pass_text(self, text: str, at: int, shown: list[str]) -> int:
        found = _ACTIVE.search(text, at)
        if found is None:
            shown.append(text[at:])
            return len(text)
        shown.append(text[at : found.start()])
        character = found.group()
        if character >= "\ud800" and character <= "\udfff":
            shown.append("\ufffd")
        elif character in _SEQUENCE_STARTS:
            self._state = _AFTER_INTRODUCER[character]
        return found.end()

    def _pass_sequence(self, text: str, at: int) -> int:
        """Skip what belongs to the sequence; return where to go on."""
        continued = _CONTINUES[self._state].match(text, at)
        at = continued.end() if continued else at
        if at == len(text):
            return at
        character = text[at]
        if self._state is _State.ESCAPE and character in _AFTER_INTRODUCER:
            self._state = _AFTER_INTRODUCER[character]
            return at + 1
        final = _FINALS[self._state].match(text, at)
        self._state = _State.TEXT
        return at + 1 if final else at
