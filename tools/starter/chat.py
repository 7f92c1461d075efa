"""The conversation format: special tokens and the one chat template that every export carries."""

from __future__ import annotations

END_OF_TEXT, SYSTEM, USER, ASSISTANT, END = SPECIAL = (
    "<|endoftext|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def prompt(question: str) -> str:
    """What `TEMPLATE` renders for one user message."""
    return f"{USER}{question.strip()}{END}{ASSISTANT}"


def intent_token(intent: str) -> str:
    """The control token that an answer begins with: which intent it is an answer to. No engine shows it."""
    return f"<|{intent}|>"
