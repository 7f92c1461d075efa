"""Values to text and to JSON; nothing here writes."""

from __future__ import annotations
