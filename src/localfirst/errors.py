"""Every failure that `lf` explains. Plain data: what happened, the evidence, and what to type next.

One class per cause that a program may want to tell apart; `code` is stable, `exit_code` is documented in the README.
Rendering is the command line's business; nothing here prints.
"""

from __future__ import annotations


class LfError(Exception):
    """A failure: message (what), detail (evidence), hint (what to type next, only where the cause has one)."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint


class UsageError(LfError):
    """The command's words contradict each other or a value is out of range."""

    code = "usage"
    exit_code = 2


class WrongTaskError(UsageError):
    """A model is asked for what it was not made for."""


class DeclinedError(LfError):
    """The user was asked whether to begin, and said no; nothing was done."""

    code = "declined"


class UnknownNameError(LfError):
    """No such model, variant, backend or runtime, or more than one that fits the name; candidates are in the detail."""

    code = "unknown-name"
    exit_code = 3


class AmbiguousNameError(UnknownNameError):
    """A name that several models of the catalog have: `names`, in its order."""

    def __init__(self, message: str, names: tuple[str, ...], *, detail: str, hint: str) -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.names = names


class NoFitError(LfError):
    """The model does not fit this machine's memory (or is predicted slower than asked for)."""

    code = "no-fit"
    exit_code = 4


class DiskFullError(LfError):
    """Not enough free space, before or during a write."""

    code = "disk-full"
    exit_code = 5


class NetworkError(LfError):
    """The network is needed and is off, unreachable, or answers with an error."""

    code = "network"
    exit_code = 6


class IntegrityError(LfError):
    """Bytes are not what the catalog, the hub or the manifest says they are."""

    code = "integrity"
    exit_code = 7


class RuntimeMissingError(LfError):
    """An engine is not installed, and its installation failed or was refused."""

    code = "runtime-missing"
    exit_code = 8


class DeviceError(LfError):
    """A device was demanded that this machine or its engines do not have."""

    code = "device"
    exit_code = 9


class LicenseError(LfError):
    """A licence or a repository's gate has not been accepted."""

    code = "license"
    exit_code = 10


class ConsentError(LicenseError):
    """A licence has terms that the user has not accepted yet; the detail is `license_`, the address of its text."""

    def __init__(self, message: str, license_: str, *, hint: str | None = None) -> None:
        super().__init__(message, detail=license_, hint=hint)
        self.license_ = license_


class ModelFileError(LfError):
    """A file is not the model it claims to be: damaged, truncated, another format, or a kind that is never loaded."""

    code = "model-file"


class CatalogError(LfError):
    """The catalog has a mistake; the message names the line and the key."""

    code = "catalog"


class TemplateError(LfError):
    """The model's chat template raised, was refused by the sandbox, or did not end."""

    code = "template"


class ContextError(LfError):
    """The prompt is longer than the context; the detail has both numbers."""

    code = "context"


class ConstraintError(LfError):
    """An engine cannot hold an answer to something of this kind, or did not."""

    code = "constraint"


class BadConstraintError(ConstraintError):
    """The schema, expression or grammar that was given is none, is too large, or is refused by the engine."""

    code = "bad-constraint"
    exit_code = 2


class EngineError(LfError):
    """The engine refused or failed; the detail has its own words."""

    code = "engine"


class WorkerCrashError(LfError):
    """The worker process died; the message names the signal, the detail has the last lines of its log."""

    code = "worker-crash"


class BenchFileError(LfError):
    """A file is no result of a bench, or one that this version does not read; the message names what is wrong."""

    code = "bench-file"


class BenchBelowError(LfError):
    """A figure of a bench is worse than the bar that was set; the detail has each."""

    code = "bench-below"
    exit_code = 12


class ServerError(LfError):
    """The server cannot listen where it is asked to, or is stopping."""

    code = "server"
    exit_code = 11


class BusyError(LfError):
    """Too many requests wait already; the same may succeed later."""

    code = "busy"


class CrowdedError(LfError):
    """Models that are in use hold the memory; the same may succeed later."""

    code = "crowded"


class UnloadedError(LfError):
    """A model was unloaded while it answered, by who runs the server."""

    code = "unloaded"


class BrokenModelError(LfError):
    """A model ends its workers while it is loaded, or has too often to be given another one soon."""

    code = "broken-model"


class StoreError(LfError):
    """The store cannot be read or written (permissions, a damaged manifest)."""

    code = "store"


def say_cause(error: OSError | UnicodeDecodeError) -> str:
    """What the system or a text says of a failure, without Python's way of writing it."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is {error.object[error.start]:#04x}"
    return error.strerror or str(error)


def error_for(code: str, message: str, detail: str | None = None, hint: str | None = None) -> LfError:
    """The error that a `code` names, as it was before it crossed a process border; an unknown code gives `LfError`."""
    classes = {cls.code: cls for cls in _list_kinds(LfError)}
    return classes.get(code, LfError)(message, detail=detail, hint=hint)


def _list_kinds(kind: type[LfError]) -> list[type[LfError]]:
    """The classes of errors below one that have a code of their own."""
    return [found for cls in kind.__subclasses__() if "code" in vars(cls) for found in (cls, *_list_kinds(cls))]
