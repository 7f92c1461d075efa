"""The command line: options in, one service call, output out."""

from __future__ import annotations
