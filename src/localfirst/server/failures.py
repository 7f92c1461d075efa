"""Errors of ours as HTTP has them: a status, and the body that OpenAI's clients read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.errors import LfError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ParameterError(UsageError):
    """A parameter of a request that cannot be honoured, by its name."""

    def __init__(self, message: str, param: str, kind: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.kind = kind


class RefusedError(LfError):
    """A request that is refused before anybody looks at what it asks."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Told(NamedTuple):
    """How an error of one code is told."""

    status: int
    code: str
    retry_after_s: int | None = None
    """When another try is worth it; `None`: not before something changes."""


TOLD: Mapping[str, Told] = {
    "usage": Told(400, "invalid_value"),
    "context": Told(400, "context_length_exceeded"),
    "constraint": Told(400, "invalid_value"),
    "template": Told(400, "chat_template_failed"),
    "unknown-name": Told(404, "model_not_found"),
    "busy": Told(429, "queue_full", 2),
    "crowded": Told(503, "no_memory_now", 5),
    "server": Told(503, "server_stopping", 5),
    "no-fit": Told(503, "model_does_not_fit"),
    "network": Told(503, "network_needed"),
    "runtime-missing": Told(503, "engine_missing"),
    "device": Told(503, "device_missing"),
    "license": Told(503, "license_not_accepted"),
    "broken-model": Told(503, "model_broken"),
    "worker-crash": Told(500, "engine_crashed"),
    "engine": Told(500, "engine_failed"),
}
"""By `LfError.code`; every other is a fault of this machine that the request did not cause."""
OTHER = Told(500, "internal_error")
PRIVATE = frozenset({"worker-crash"})
"""Whose detail may hold words of other requests: the end of a worker's log."""


class Failure(NamedTuple):
    """An error as it is sent."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def tell(error: LfError) -> Failure:
    """An error by the fields that OpenAI's have: message, type, param, code.

    `x-should-retry` is what OpenAI's own clients go by before the status (`_should_retry` in openai/openai-python).
    """
    told = TOLD.get(error.code, OTHER)
    param = None
    if isinstance(error, ParameterError):
        told, param = Told(400, error.kind), error.param
    elif isinstance(error, RefusedError):
        told = Told(error.status, error.kind)
    elif isinstance(error, UnknownNameError):
        param = "model"
    evidence = None if error.code in PRIVATE else error.detail
    message = ". ".join(text.rstrip(".") for text in (error.message, evidence, error.hint) if text)
    headers = {"x-should-retry": "false" if told.retry_after_s is None else "true"}
    if told.retry_after_s is not None:
        headers["retry-after"] = str(told.retry_after_s)
    body = {"message": message, "type": _find_type(told.status), "param": param, "code": told.code}
    return Failure(told.status, headers, {"error": body})


def _find_type(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
