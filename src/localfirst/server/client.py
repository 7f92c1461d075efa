"""What other commands of `lf` ask of a server that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx2

from localfirst.errors import ServerError, error_for
from localfirst.server.failures import TOLD

if TYPE_CHECKING:
    from localfirst.server.found import Record

ANSWER_S = 10.0
"""How long a server may take for what it knows at once."""
_CODES = {told.code: code for code, told in reversed(list(TOLD.items()))}


class Client:
    """A server that runs. Use it as a context manager."""

    def __init__(self, record: Record) -> None:
        """Connect to nothing yet."""
        self._record = record
        self._http = httpx2.Client(
            base_url=record.url.removesuffix("/v1"),
            transport=httpx2.HTTPTransport(uds=record.socket),
            headers={"authorization": f"Bearer {record.own_key}"},
            timeout=ANSWER_S,
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
        return self._ask("POST", path, json=body, timeout=None if patient else ANSWER_S)

    def is_well(self) -> bool:
        """Whether it answers at all."""
        try:
            return self._http.get("/health").is_success
        except httpx2.TransportError:
            return False

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
            answer = response.json()
        except (httpx2.TransportError, ValueError) as error:
            where = f"{self._record.place}, process {self._record.pid}"
            raise ServerError(
                "The server does not answer",
                detail=f"{where}: {str(error) or type(error).__name__}",
                hint="See what it does: `lf server logs`; end it: `lf server stop`",
            ) from error
        if response.is_success:
            return answer
        told = answer["error"]
        raise error_for(_CODES.get(told["code"], ""), told["message"])
