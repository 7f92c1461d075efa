"""The parameters of a request, each taken by its name; what nobody takes is refused, never ignored. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.server.failures import ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PAGE = 20
"""How long a page of a list is, where a request does not say."""


class Fields:
    """The parameters that were given. `null` is as good as not given, as OpenAI's API has it.

    Every method raises `ParameterError` where a value is of another type or out of range.
    """

    def __init__(self, given: Mapping[str, Any], within: str | None = None) -> None:
        """Begin with all of them; `within` is the parameter that has these, which errors name too."""
        self._before = f"{within}." if within else ""
        self._given = {name: value for name, value in given.items() if value is not None}

    def take(self, name: str) -> Any:
        """A value of any type; `None` where it is not given."""
        return self._given.pop(name, None)

    def require(self, name: str) -> Any:
        """As `take`, of one that has to be given."""
        if name not in self._given:
            full = self._before + name
            raise ParameterError(f"`{full}` is missing", full, "missing_required_parameter")
        return self.take(name)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise refuse_type(self._before + name, "true or false")
        return default if value is None else value

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within bounds."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise refuse_type(self._before + name, "a number")
        return float(_check_range(self._before + name, value, least, most))

    def integer(self, name: str, least: int, most: int) -> int | None:
        """A whole number within bounds. `16.0` is one, as JSON Schema has it: not every language tells it from `16`."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse_type(self._before + name, "a whole number")
        return int(_check_range(self._before + name, value, least, most))

    def text(self, name: str) -> str:
        """A text that has to be given."""
        value = self.require(name)
        if not isinstance(value, str) or not value:
            raise refuse_type(self._before + name, "a text")
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """A text or a list of texts, none of them empty; none where it is not given."""
        value = self.take(name)
        items = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
            raise refuse_type(self._before + name, "a text or a list of texts, none of them empty")
        if len(items) > most:
            full = self._before + name
            raise ParameterError(f"`{full}` has {len(items)} texts; the most are {most}", full)
        return tuple(items)

    def end(self, ignored: Collection[str], neutral: Mapping[str, Collection[Any]]) -> None:
        """Refuse what is left.

        Args:
            ignored: names of what has no part in an answer.
            neutral: values that ask for nothing, of what cannot be honoured otherwise.
        """
        for name, value in self._given.items():
            if name in ignored or any(type(value) is type(one) and value == one for one in neutral.get(name, ())):
                continue
            known, full = name in neutral, self._before + name[:60]
            raise ParameterError(
                f"`{full}` is not supported" + (" with this value" if known else ""),
                full,
                "unsupported_value" if known else "unsupported_parameter",
            )


def take_limit(asked: Mapping[str, Any], most: int) -> int:
    """How long a page of a list may be, as the query of a request says it.

    Raises:
        ParameterError: it is no number from 1 to `most`.
    """
    text = str(asked.get("limit", PAGE))
    # Its length first: Python reads no number of thousands of digits.
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise ParameterError(f"`limit` has to be between 1 and {most}", "limit")
    return int(text)


def refuse_type(name: str, wanted: str) -> ParameterError:
    """The error for a value of another type."""
    return ParameterError(f"`{name}` has to be {wanted}", name, "invalid_type")


def _check_range(name: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ParameterError(f"`{name}` has to be between {least} and {most}", name)
    return value
