"""What installers say when they fail, as they said it here, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfirst.errors import DiskFullError, LfError, NetworkError, RuntimeMissingError
from localfirst.runtimes import failure

UV_DNS = """Using Python 3.11.7 environment at: environment
error: Failed to fetch: https://index.invalid/simple/annotated-types/
  cause: error sending request for url (https://index.invalid/simple/annotated-types/)
  cause: client error (Connect)
  cause: dns error
  cause: error resolving DNS
  cause: failed to lookup address information: Name or service not known"""
UV_REFUSED = """error: Failed to fetch: http://127.0.0.1:9/simple/markupsafe/
  cause: error sending request for url (http://127.0.0.1:9/simple/markupsafe/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)"""
UV_403 = """error: No solution found when resolving dependencies
  cause: Because markupsafe was not found in the package registry and you require markupsafe==3.0.4, we can conclude \
that your requirements are unsatisfiable.

hint: An index (http://127.0.0.1:18933/simple) returned a 403 Forbidden error. Check that the index URL is correct and \
the credentials are valid."""
PIP_RETRY = """WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after \
connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7fe5>: Failed \
to establish a new connection: [Errno -2] Name or service not known')': /simple/markupsafe/"""
PIP_NONE = """Looking in indexes: https://index.invalid/simple, file:///srv/simple
Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
ERROR: Could not find a version that satisfies the requirement annotated-doc==0.0.7 (from versions: 0.0.5)
ERROR: No matching distribution found for annotated-doc==0.0.7"""


@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        ({"uv": UV_DNS, "pip": PIP_NONE}, NetworkError, "the package index cannot be reached"),
        ({"pip": f"{PIP_RETRY}\n{PIP_NONE}"}, NetworkError, "the package index cannot be reached"),
        ({"uv": UV_REFUSED, "pip": PIP_NONE}, NetworkError, "the package index cannot be reached"),
        ({"uv": UV_403, "pip": PIP_NONE}, NetworkError, "the package index refuses to serve it"),
        ({"pip": PIP_NONE}, RuntimeMissingError, "the package index has no build for this Python and system"),
        ({"uv": "error: No space left on device (os error 28)"}, DiskFullError, "the disk is full"),
    ],
    ids=["no name", "retried", "refused", "forbidden", "no build", "disk full"],
)
def test_a_cause_is_known_by_its_words_and_shown_in_few_lines(said: dict[str, str], kind: type, what: str) -> None:
    lines = {name: tuple(text.splitlines()) for name, text in said.items()}
    error = failure.explain("It could not be installed", lines, log=Path("/x.log"), again="lf again")
    assert type(error) is kind
    assert error.message == f"It could not be installed: {what}"
    *evidence, last = (error.detail or "").splitlines()
    assert 1 <= len(evidence) <= 2 * failure.EVIDENCE_LINES
    assert last == "All of it: /x.log"
    assert (error.hint or "").endswith(", then type `lf again`")


def test_the_evidence_is_what_shows_the_cause_and_not_what_came_of_it() -> None:
    lines = {"uv": tuple(UV_DNS.splitlines()), "pip": tuple(PIP_NONE.splitlines())}
    assert (failure.explain("No", lines).detail or "").splitlines() == [
        "uv: cause: error sending request for url (https://index.invalid/simple/annotated-types/)",
        "uv: cause: dns error",
        "uv: cause: failed to lookup address information: Name or service not known",
    ]


def test_what_nobody_knows_is_shown_by_its_errors_or_its_end() -> None:
    error: LfError = failure.explain("No", {"pip": ("one", "ERROR: what is this", "two")}, log=Path("/x"), again="lf x")
    assert (type(error), error.message) == (RuntimeMissingError, "No")
    assert error.detail == "pip: ERROR: what is this\nAll of it: /x"
    assert error.hint == "Mend what it says, then type `lf x`"
    assert failure.explain("No", {"pip": ("one", "two", "three", "four")}).detail == "pip: two\npip: three\npip: four"
