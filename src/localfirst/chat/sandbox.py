"""Where chat templates run: Jinja's immutable sandbox, with what publishers rely on and a bound on every step.

A template is foreign code. The sandbox keeps it from Python's internals, and the bounds here turn the cheap ways to
exhaust memory (`'a' * 10**10`, a pad to a huge width, a text doubled in a loop) into an error. Time has no bound here:
a template that never ends is ended with its process.

Source of the surroundings (`raise_exception`, `strftime_now`, `tojson`, loop controls, `generation` blocks, trimmed
blocks): huggingface/transformers, `docs/source/en/chat_templating_writing.md` and `utils/chat_template_utils.py`.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment, Template
    from jinja2.ext import Extension

MAX_SIZE = 16 * 2**20
"""Characters (or items) that a template may put out, or build in one step: more than any context holds."""
MAX_SOURCE = 2**20
"""Characters of a template's source; the longest known one has about 30,000."""
_GROWING_FILTERS = ("center", "format", "indent", "join", "replace", "wordwrap")
_WIDE_FIELD = re.compile(r"\d{6,}|%[^%a-zA-Z]*\*|:[^{}]*\{[^{]")
"""In a format string: a width or precision past 99,999, or one that comes from an argument (`%*d`, `{:{w}}`)."""
_Value = TypeVar("_Value")


class RaisedError(Exception):
    """The template called `raise_exception`; its words are the message."""


class TooLargeError(Exception):
    """The template built, or tried to build, more than `MAX_SIZE`."""

    def __init__(self) -> None:
        super().__init__(f"more than {MAX_SIZE:,} characters or items")


@lru_cache(maxsize=8)
def compile_template(source: str) -> Template:
    """Compile a template; the same source is compiled once.

    Raises:
        jinja2.TemplateSyntaxError: with the line number.
        TooLargeError: the source itself is too long.
    """
    if len(source) > MAX_SOURCE:
        raise TooLargeError
    return _make_environment().from_string(source)


@lru_cache(maxsize=1)
def _make_environment() -> Environment:
    from jinja2.ext import loopcontrols

    environment: Environment = _define_environment()(
        trim_blocks=True, lstrip_blocks=True, extensions=[_define_generation_blocks(), loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    for name in _GROWING_FILTERS:
        environment.filters[name] = _bound_filter(environment.filters[name])
    environment.globals["raise_exception"] = _raise_exception
    del environment.globals["lipsum"]
    return environment


def _define_environment() -> type[Environment]:
    """Jinja's sandbox with bounds; a function, since Jinja may only be imported where it is used."""
    from jinja2.compiler import CodeGenerator
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generator(CodeGenerator):
        def visit_Concat(self, node: Any, frame: Any) -> None:  # noqa: N802 - the name that Jinja calls
            """Compile `a ~ b` to a call that has a bound; Jinja itself intercepts `+`, `*`, `%` but not `~`."""
            self.write("environment.concat_bounded(")
            for child in node.nodes:
                self.visit(child, frame)
                self.write(", ")
            self.write(")")

    class BoundedEnvironment(ImmutableSandboxedEnvironment):
        code_generator_class = Generator
        intercepted_binops = frozenset({"*", "**", "+", "%"})

        def concat_bounded(self, *parts: object) -> str:
            return _check("".join(map(str, parts)))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operands(operator, left, right)
            return _check(super().call_binop(context, operator, left, right))

        def call(self, context: Any, called: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(getattr(called, "__self__", None), str):
                _check_numbers(args)
            return _check(super().call(context, called, *args, **kwargs))

        def wrap_str_format(self, value: Any) -> Any:
            if (wrapped := super().wrap_str_format(value)) is not None:
                _check_format(value.__self__)
            return wrapped

    return BoundedEnvironment


def _define_generation_blocks() -> type[Extension]:
    from jinja2.ext import Extension

    class GenerationBlocks(Extension):
        """`{% generation %}` marks the assistant's words for training; for rendering it is only its content."""

        tags = {"generation"}  # noqa: RUF012 - as the base class declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return GenerationBlocks


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as transformers writes it: Jinja's own filter escapes `<`, `>`, `&` and `'` for web pages."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object = "") -> NoReturn:
    raise RaisedError(str(message))


def _bound_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, refusing huge widths and results. `wraps` keeps the marks by which Jinja passes its context."""

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _check_numbers((*args[1:], *kwargs.values()))
        if function.__name__ == "do_format":
            _check_format(args[0])
        return _check(function(*args, **kwargs))

    return bounded


def _check_operands(operator: str, left: Any, right: Any) -> None:
    """Refuse `*`, `**` and `%` before they build what could not be held."""
    if operator == "%" and isinstance(left, str):
        _check_format(left)
    elif operator == "**":
        _check_power(left, right)
    elif operator == "*":
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, (str, list, tuple)) and isinstance(times, int) and len(sequence) * times > MAX_SIZE:
                raise TooLargeError


def _check_power(base: Any, exponent: Any) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > 4096:
        raise TooLargeError


def _check_numbers(args: tuple[Any, ...]) -> None:
    """Refuse a huge number handed to a method of a text (`ljust`, `zfill`, ...) or to a filter that pads."""
    if any(isinstance(arg, int) and arg > MAX_SIZE for arg in args):
        raise TooLargeError


def _check_format(pattern: object) -> None:
    if isinstance(pattern, str) and _WIDE_FIELD.search(pattern):
        raise TooLargeError


def _check(value: _Value) -> _Value:
    if isinstance(value, (str, list, tuple)) and len(value) > MAX_SIZE:
        raise TooLargeError
    return value
