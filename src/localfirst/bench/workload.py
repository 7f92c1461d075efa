"""What to measure, from the words of a command line: llama-bench's lists, ranges, and their combinations.

Source: llama.cpp, `tools/llama-bench/README.md`.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

from localfirst.bench.values import Workload
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_TOKENS = 10_000_000
"""No context is longer; a larger number is a slip of the finger."""
MOST_REQUESTS = 256
MOST_VALUES = 256
"""Of one option: a range with a forgotten step would take days."""
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})(?:([+*])(\d{1,9}))?", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
"""With more digits it is too large anyway, and with thousands of them none that Python reads."""


def parse_numbers(option: str, texts: Iterable[str], least: int = 0, most: int = MOST_TOKENS) -> tuple[int, ...]:
    """`512,1024` -> `(512, 1024)`; also `128-512+128` and `128-1024*2`; each number once, in their order.

    Args:
        option: how it is called, for the error.
        texts: what was given, each time that it was.
        least: the smallest number that it takes.
        most: the largest.

    Raises:
        UsageError: a part is no such number, or there are too many.
    """
    numbers: dict[int, None] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        found = _expand(part)
        if found is None or not all(least <= number <= most for number in found):
            raise UsageError(
                f"`{option} {part}` is no such number: it takes those from {least} to {most:,}",
                hint=f"`{option} 4`, `{option} 1,8`, `{option} 1-9+4` (1, 5, 9) or `{option} 1-8*2` (1, 2, 4, 8)",
            )
        numbers |= dict.fromkeys(found)
    if len(numbers) > MOST_VALUES:
        raise UsageError(f"`{option}` has {len(numbers)} values; at most {MOST_VALUES} are measured at once")
    return tuple(numbers)


def parse_pairs(texts: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """`512,128` -> `((512, 128),)`: a prompt and what is generated after it.

    Raises:
        UsageError: it is no pair of positive numbers.
    """
    pairs: dict[tuple[int, int], None] = {}
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        numbers = [int(part) for part in parts if _NUMBER.fullmatch(part)]
        if len(parts) != 2 or len(numbers) != 2 or not all(0 < number <= MOST_TOKENS for number in numbers):
            raise UsageError(f"`-pg {text}` is no pair of tokens to read and to generate", hint="Write `-pg 512,128`")
        pairs[numbers[0], numbers[1]] = None
    return tuple(pairs)


def combine(  # noqa: PLR0913 - one keyword per option
    *,
    prompts: Sequence[int] = (),
    answers: Sequence[int] = (),
    pairs: Sequence[tuple[int, int]] = (),
    depths: Sequence[int] = (0,),
    concurrency: Sequence[int] = (1,),
    scenarios: Sequence[Workload] = (),
) -> tuple[Workload, ...]:
    """Every workload, in the order in which llama-bench has them: depth by depth, reading before generating.

    A scenario has its own length, so it has no depth besides.

    Raises:
        UsageError: nothing is left to measure.
    """
    sizes = [*((tokens, 0) for tokens in prompts if tokens), *((0, tokens) for tokens in answers if tokens), *pairs]
    plain = [Workload(*size, depth, requests) for depth, size, requests in product(depths, sizes, concurrency)]
    texts = [one._replace(concurrency=requests) for one, requests in product(scenarios, concurrency)]
    if not plain and not texts:
        raise UsageError("There is nothing to measure", hint="`-p 512`, `-n 128` or `--scenario chat`")
    return (*plain, *texts)


def find_context(workloads: Iterable[Workload]) -> int:
    """Tokens of context that the longest of them takes."""
    return max(one.depth_tokens + one.prompt_tokens + one.generated_tokens for one in workloads)


def _expand(part: str) -> list[int] | None:
    """The numbers of one part of a list; `None` where it is none, or a range without an end."""
    if _NUMBER.fullmatch(part):
        return [int(part)]
    match = _RANGE.fullmatch(part)
    if match is None:
        return None
    first, last, kind, step = int(match[1]), int(match[2]), match[3] or "+", int(match[4] or 1)
    if first > last or (kind == "*" and (step < 2 or first < 1)) or step < 1:
        return None
    numbers = [first]
    while len(numbers) <= MOST_VALUES:
        following = numbers[-1] * step if kind == "*" else numbers[-1] + step
        if following > last:
            break
        numbers.append(following)
    return numbers
