"""What other commands of `lf` ask of a server that runs."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import httpx2

from localfirst.errors import ServerError, error_for
from localfirst.server.failures import TOLD

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from localfirst.errors import LfError
    from localfirst.server.found import Record

ANSWER_S = 10.0
"""How long a server may take for what it knows at once."""
_CODES = {told.code: code for code, told in reversed(list(TOLD.items()))}


class Client:
    """A server that runs. Use it as a context manager."""

    def __init__(self, record: Record, answer_s: float = ANSWER_S) -> None:
        """Connect to nothing yet."""
        self._answer_s = answer_s
        self._record = record
        self._http = httpx2.Client(
            base_url=record.url.removesuffix("/v1"),
            transport=httpx2.HTTPTransport(uds=record.socket),
            headers={"authorization": f"Bearer {record.own_key}"},
            timeout=answer_s,
            trust_env=False,  # no proxy leads to this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """What it has at a path.

        Raises:
            LfError: as `post`.
        """
        return self._ask("GET", path)

    def post(self, path: str, body: dict[str, Any], *, patient: bool = False) -> Any:
        """What it answers; `patient` waits for as long as it takes, as loading a model does.

        Raises:
            ServerError: it does not answer.
            LfError: as the server says.
        """
        return self._ask("POST", path, json=body, timeout=None if patient else self._answer_s)

    @contextmanager
    def stream(self, path: str, body: dict[str, Any]) -> Generator[Lines, None, None]:
        """The lines of an answer as they come, for as long as it takes.

        Raises:
            ServerError: the server does not answer, or is gone before the end; also while they are iterated over.
            LfError: as the server says, where it says so before the first line.
        """
        with self._telling_silence(), self._http.stream("POST", path, json=body, timeout=None) as response:
            if not response.is_success:
                response.read()
                raise _parse_failure(response.json())
            yield Lines(response)

    def is_well(self, within_s: float = ANSWER_S) -> bool:
        """Whether it answers at all."""
        try:
            return self._http.get("/health", timeout=within_s).is_success
        except httpx2.TransportError:
            return False

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._telling_silence():
            response = self._http.request(method, path, **options)
            answer = response.json()
        if response.is_success:
            return answer
        raise _parse_failure(answer)

    @contextmanager
    def _telling_silence(self) -> Generator[None, None, None]:
        try:
            yield
        except (httpx2.TransportError, ValueError) as error:
            where = f"{self._record.place}, process {self._record.pid}"
            raise ServerError(
                "The server does not answer",
                detail=f"{where}: {str(error) or type(error).__name__}",
                hint="See what it does: `lf server logs`; end it: `lf server stop`",
            ) from error


class Lines:
    """The lines of an answer that is under way; those that are JSON objects."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[str]:
        return (line for line in self._response.iter_lines() if line.startswith("{"))

    def leave(self) -> None:
        """Wait for no more, from whatever thread: the server sees that its client left."""
        with suppress(OSError):
            self._response.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _parse_failure(answer: Any) -> LfError:
    told = answer["error"]
    if "kind" in told:
        return error_for(told["kind"], told["said"], told["detail"], told["hint"])
    return error_for(_CODES.get(told["code"], ""), told["message"])  # by a server of an earlier version
