"""A chat with a session that answers without a model, for a test that drives it through a real terminal.

Run as `python repl_child.py [--stats] [--raw] [--no-history]`; on the way out it prints what is left behind, as JSON.
"""

import json
import os
import sys
import termios
import time

from localfirst.cli.repl import run_chat
from localfirst.conversation import Answer, Message, Sampling, TextDelta, Timings, ToolCall, Usage
from localfirst.errors import EngineError


class EchoSession:
    """Answers each message with itself; `slow` goes on until it is stopped, `deaf` until it is interrupted.

    `calls f g` is answered with a call of each.
    """

    def __init__(self):
        self.system = None
        self.sampling = Sampling()
        self.max_tokens = None
        self.messages = []
        self.last = None
        self.constraint = None
        self._cancelled = False

    def cancel(self):
        self._cancelled = True

    def info(self):
        return {"model": "Echo", "device": "none"}

    def stream(self, text):
        self.messages.append(Message("user", text))
        return self._answer(text)

    def answer_call(self, call, text):
        self.messages.append(Message("tool", text, tool_call_id=call.id, name=call.name))

    def regenerate(self):
        while self.messages[-1].role == "assistant":
            self.messages.pop()
        return self._answer(self.messages[-1].content + " (again)")

    def clear(self):
        self.messages.clear()
        self.last = None

    def _answer(self, text):
        said, calls = [], ()
        try:
            for piece in self._pieces(text):
                if not piece.reasoning:
                    said.append(piece.text)
                yield piece
            usage = Usage(len(text.split()), len(said), cached_tokens=2)
            names = text.removeprefix("calls").removesuffix("(again)").split() if text.startswith("calls") else []
            calls = tuple(ToolCall(name, "{}", f"id{number}") for number, name in enumerate(names))
            self.last = Answer("".join(said), "", "stop", usage, Timings(None, 0.08, None, 21.43), calls)
        finally:
            self.messages.append(Message("assistant", "".join(said), calls))

    def _pieces(self, text):
        self._cancelled = False
        if text in {"slow", "deaf"}:
            yield TextDelta("begun ")
            for _ in range(200):
                time.sleep(0.05)
                if self._cancelled and text == "slow":
                    return
                yield TextDelta(".")
        elif text == "fail":
            yield TextDelta("half")
            raise EngineError("The engine failed", detail="its own words", hint="Try `/clear`")
        elif text == "think":
            yield TextDelta("let me see", reasoning=True)
            yield TextDelta("found it")
        elif text == "evil":
            yield TextDelta("a\x1b]52;c;ZXZpbA==\x07b\x1b[2")
            yield TextDelta("Jc [bold]d[/bold]\x9b31m")
        else:
            yield TextDelta(f"you said: {text}")


before = termios.tcgetattr(0)
session = EchoSession()
flags = set(sys.argv[1:])
run_chat(session, stats="--stats" in flags, raw="--raw" in flags, keep_history="--no-history" not in flags)
left = {
    "messages": [f"{message.role}: {message.content}" for message in session.messages],
    "system": session.system,
    "temperature": session.sampling.temperature,
    "max_tokens": session.max_tokens,
    "restored": termios.tcgetattr(0) == before,
}
with open(os.environ["LEFT_BEHIND"], "w", encoding="utf-8") as file:  # noqa: PTH123 - the simplest there is
    json.dump(left, file)
