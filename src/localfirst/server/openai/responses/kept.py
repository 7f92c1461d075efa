"""The responses that can be asked for later, and gone on from: in memory, the last of them, until the server ends."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.errors import UnknownNameError
from localfirst.server.failures import ParameterError
from localfirst.server.fields import take_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 1000
MOST_BYTES = 64 * 2**20
MOST_LISTED = 100


class Said(NamedTuple):
    """A response, and what it answers."""

    response: dict[str, Any]
    input: tuple[dict[str, Any], ...]
    """What was said with its request."""
    items: tuple[dict[str, Any], ...]
    """That, after all that was said before."""

    @property
    def size_bytes(self) -> int:
        """About what it takes: its own texts, for those before it are shared."""
        return len(json.dumps((self.response, self.input)))


class Kept:
    """Responses by their ids, the newest `MOST` of them, within `MOST_BYTES`."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, tuple[Said, int]] = OrderedDict()
        self._bytes = 0

    def add(self, said: Said) -> None:
        """Keep a response."""
        size = said.size_bytes
        self._said[said.response["id"]] = (said, size)
        self._bytes += size
        while self._said and (len(self._said) > MOST or self._bytes > MOST_BYTES):
            self._bytes -= self._said.popitem(last=False)[1][1]

    def find(self, name: str) -> Said:
        """A response by its id.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self._said:
            raise UnknownNameError(
                f"No response `{name[:80]}`", hint="Responses are kept until the server ends, the last thousand of them"
            )
        return self._said[name][0]

    def drop(self, name: str) -> None:
        """Forget a response. Raises as `find`."""
        self.find(name)
        self._bytes -= self._said.pop(name)[1]

    def find_items(self, name: str) -> tuple[dict[str, Any], ...]:
        """All that was said up to the end of a response.

        Raises:
            ParameterError: there is none of this id.
        """
        try:
            said = self.find(name)
        except UnknownNameError as error:
            message = f"{error.message}. {error.hint}"
            raise ParameterError(message, "previous_response_id", "previous_response_not_found") from None
        return (*said.items, *said.response["output"])


def list_items(said: Said, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was said with a request, page by page, the newest first unless it is asked for otherwise.

    Args:
        said: the response.
        asked: `limit`, `order` and `after` of the query.

    Raises:
        ParameterError: one of them is wrong.
    """
    order = asked.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise ParameterError("`order` has to be `asc` or `desc`", "order")
    limit = take_limit(asked, MOST_LISTED)
    items = list(said.input if order == "asc" else reversed(said.input))
    if (after := asked.get("after")) is not None:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise ParameterError(f"No item `{after[:80]}` in this response's input", "after")
        items = items[places[0] + 1 :]
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(page) < len(items),
    }
