"""Errors of ours as HTTP has them: a status, a code, and the body that each dialect's clients read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from localfirst.errors import LfError, UnknownNameError, UsageError, WrongTaskError

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

    def __init__(self, status: int, kind: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s


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
    "unloaded": Told(503, "model_unloaded"),
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
OVERLOADED = 529
"""Anthropic's own status for what may be worth another try."""
ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    OVERLOADED: "overloaded_error",
}
PRIVATE = frozenset({"worker-crash"})
"""Whose detail may hold words of other requests: the end of a worker's log."""


class Explained(NamedTuple):
    """An error in words that every dialect has."""

    status: int
    code: str
    message: str
    param: str | None
    """The parameter that is to blame."""
    retry_after_s: int | None

    @property
    def whole(self) -> str:
        """The message with what is to blame, for dialects that have one text for both."""
        return self.message if self.param is None or self.param in self.message else f"{self.param}: {self.message}"

    @property
    def headers(self) -> dict[str, str]:
        """Whether to try again, and when.

        `x-should-retry` is what the clients of OpenAI and Anthropic go by before the status (`_should_retry` in
        openai/openai-python and anthropics/anthropic-sdk-python).
        """
        headers = {"x-should-retry": "false" if self.retry_after_s is None else "true"}
        return headers if self.retry_after_s is None else headers | {"retry-after": str(self.retry_after_s)}


class Failure(NamedTuple):
    """An error as it is sent."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def explain(error: LfError) -> Explained:
    """What there is to tell of an error."""
    told = TOLD.get(error.code, OTHER)
    param = None
    if isinstance(error, ParameterError):
        told, param = Told(400, error.kind), error.param
    elif isinstance(error, RefusedError):
        told = Told(error.status, error.kind, error.retry_after_s)
    elif isinstance(error, (UnknownNameError, WrongTaskError)):
        param = "model"
    evidence = None if error.code in PRIVATE else error.detail
    message = ". ".join(text.rstrip(".") for text in (error.message, evidence, error.hint) if text)
    return Explained(told.status, told.code, message, param, told.retry_after_s)


def tell(error: LfError) -> Failure:
    """An error by the fields that OpenAI's have: message, type, param, code."""
    said = explain(error)
    body = {"message": said.message, "type": _find_type(said.status), "param": said.param, "code": said.code}
    return Failure(said.status, said.headers, {"error": body})


def tell_own(error: LfError) -> Failure:
    """The same, and apart what `lf`'s own commands show apart."""
    status, headers, body = tell(error)
    evidence = None if error.code in PRIVATE else error.detail
    own = {"kind": error.code, "said": error.message, "detail": evidence, "hint": error.hint}
    return Failure(status, headers, {"error": body["error"] | own})


def tell_anthropic(error: LfError) -> Failure:
    """An error by the fields that Anthropic's have: type, message.

    Source: https://docs.anthropic.com/en/api/errors.
    """
    said = explain(error)
    status = OVERLOADED if said.status == 503 and said.retry_after_s is not None else said.status
    kind = ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return Failure(status, said.headers, {"type": "error", "error": {"type": kind, "message": said.whole}})


def tell_ollama(error: LfError) -> Failure:
    """An error as Ollama has it, a text; and beside it, which theirs has not, our code for it."""
    said = explain(error)
    return Failure(said.status, said.headers, {"error": said.whole, "code": said.code})


def _find_type(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
