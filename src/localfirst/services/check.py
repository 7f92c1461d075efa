"""What a check of `lf doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `note` is neither good nor bad."""

    name: str
    state: State
    summary: str
    evidence: tuple[str, ...] = ()
    hint: str | None = None
