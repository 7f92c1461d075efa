"""An answer in a chat on its way out of the worker: thinking, text and calls told apart, until there is enough."""

from __future__ import annotations

import secrets
import string
from dataclasses import replace
from typing import TYPE_CHECKING

from localfirst.backends import base
from localfirst.conversation import ToolCall
from localfirst.worker import protocol
from localfirst.worker.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localfirst.chat.calls import AnswerReader
    from localfirst.conversation import TextDelta, ToolChoice
    from localfirst.worker.texts import Texts

ID_CHARACTERS = string.ascii_letters + string.digits
ID_LENGTH = 9
"""As Mistral's templates want ids of calls: others take any."""


class ChatAnswer:
    """Takes what a model writes, and sends what it means."""

    def __init__(
        self, texts: Texts, reader: AnswerReader, choice: ToolChoice, is_cancelled: Callable[[], bool]
    ) -> None:
        self._texts, self._reader, self._choice, self._is_cancelled = texts, reader, choice, is_cancelled
        self._telling = Telling()
        self._is_enough = False

    def is_to_end(self) -> bool:
        """Whether nothing more is wanted: all that may be called is called, or who asked has left."""
        return self._is_enough or self._is_cancelled()

    def take(self, chunk: base.Chunk) -> None:
        """Send what a chunk means."""
        if isinstance(chunk, base.Finished):
            self._send(self._telling.flush(self._reader))
            if self._is_enough and not self._is_cancelled():
                chunk = replace(chunk, finish_reason="stop")
        self._texts.take(chunk, lambda piece: self._send(self._telling.feed(piece, self._reader)))

    def _send(self, told: Iterable[TextDelta | ToolCall]) -> None:
        for one in told:
            if self._is_enough:
                return
            if isinstance(one, ToolCall):
                self._texts.send(protocol.Called(replace(one, id=_make_id())))
                self._is_enough = not self._choice.parallel
            else:
                self._texts.add(one)


def _make_id() -> str:
    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(ID_LENGTH))
