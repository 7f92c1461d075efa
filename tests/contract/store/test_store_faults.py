"""Each thing that goes wrong between a hub and a disk: the right bytes or a typed error, never wrong bytes."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.hub import make_model, sha256

from localfirst import paths
from localfirst.errors import IntegrityError, LfError, LicenseError, NetworkError, UnknownNameError
from localfirst.store import manifest
from localfirst.store.net.wire import Limits
from localfirst.store.pull import pull
from localfirst.store.transfer import download
from localfirst.store.transfer.journal import Journal
from localfirst.types import InstalledFile

if TYPE_CHECKING:
    from tests.fixtures.hub import Hub

    from localfirst.types import InstalledModel, Progress

FAST = Limits(
    connect_s=2.0,
    read_s=0.3,
    window_s=0.5,
    window_bytes=5000,
    tries=3,
    backoff_s=0.01,
    backoff_max_s=0.02,
    retry_after_max_s=2.0,
)
SIZE = 1_000_000
DATA = random.Random(1).randbytes(SIZE)  # noqa: S311 (the same bytes in every run)


class Log(list["Progress"]):
    """Everything reported."""

    @property
    def notices(self) -> list[str]:
        return [step.detail["notice"] for step in self if "notice" in step.detail]


def fetch(log: Log | None = None, limits: Limits = FAST) -> InstalledModel:
    return pull(
        *make_model("org/model", "model.gguf"), report=(log if log is not None else Log()).append, limits=limits
    )


def read_only_file(installed: InstalledModel) -> bytes:
    return (Path(installed.root) / "model.gguf").read_bytes()


def find_files() -> list[str]:
    """Every file under LF_HOME but the locks."""
    root = paths.data_dir()
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")


def find_kept_bytes() -> list[int]:
    """What is there of each unfinished file."""
    found = []
    for path in paths.data_dir().rglob("*.part"):
        journal = Journal(path.with_suffix(".journal"), path.stat().st_size)
        found.append(journal.present_bytes)
        journal.close()
    return found


def spoil_part(data: bytes) -> None:
    """Other bytes in the unfinished file than those that were fetched."""
    (part,) = paths.data_dir().rglob("*.part")
    part.write_bytes(data)


@pytest.fixture(autouse=True)
def repo(hub: Hub) -> str:
    return hub.add_repo("org/model", {"model.gguf": DATA})


def test_a_pulled_model_is_recorded_with_its_digest_and_its_commit(hub: Hub, repo: str) -> None:
    log = Log()
    installed = fetch(log)
    assert installed.files == (InstalledFile("model.gguf", SIZE, hashlib.sha256(DATA).hexdigest()),)
    assert (installed.repo, installed.revision, installed.variant) == ("org/model", repo, "q4_0")
    assert read_only_file(installed) == DATA
    assert manifest.find("tiny") == installed
    assert find_files() == [
        f"models/org--model/{repo[:12]}/tiny@q4_0/files/model.gguf",
        f"models/org--model/{repo[:12]}/tiny@q4_0/manifest.json",
    ]
    assert (log[-1].done, log[-1].total, log.notices) == (SIZE, SIZE, [])
    assert hub.bytes_sent == SIZE


def test_an_installed_model_is_returned_without_a_connection(hub: Hub) -> None:
    installed = fetch()
    hub.requests.clear()
    assert fetch() == installed
    assert pull(*make_model("org/model", "model.gguf"), offline=True) == installed
    assert hub.requests == []


PASSING = {
    "connection dropped once": {"kind": "drop", "at": 300_000},
    "connection dropped again and again": {"kind": "drop", "at": 130_000, "times": None},
    "reset once": {"kind": "reset", "at": 300_000},
    "reset before the first byte": {"kind": "reset_at_once"},
    "stalled once": {"kind": "stall", "at": 300_000},
    "trickling once": {"kind": "trickle", "at": 300_000, "seconds": 0.05},
    "no length": {"kind": "chunked", "times": None},
    "no length and bytes behind the end": {"kind": "long", "times": None},
    "half the length": {"kind": "short"},
    "corrupt once": {"kind": "corrupt", "at": 700_000},
    "web page instead of the file once": {"kind": "html"},
    "storage answers 500": {"kind": "status", "status": 500},
    "storage answers 503 twice": {"kind": "status", "status": 503, "times": 2},
    "storage forgets the file for a moment": {"kind": "status", "status": 404},
    "signed address expired": {"kind": "status", "status": 403},
    "asked to wait": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    "hub answers 503 for a file": {"kind": "status", "status": 503, "where": "hub"},
    "hub answers with a web page": {"kind": "html", "where": "hub"},
    "listing answers 503": {"kind": "status", "status": 503, "where": "api"},
    "listing answers 429": {"kind": "status", "status": 429, "where": "api"},
    "listing is reset": {"kind": "reset_at_once", "where": "api"},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_ends_with_the_right_bytes(hub: Hub, fault: dict[str, object]) -> None:
    hub.fail(**fault)  # type: ignore[arg-type]
    assert read_only_file(fetch()) == DATA


RESUMED = {
    "range ignored": ("none", 1.4),
    "another range than asked for": ("wrong_range", 1.4),
    "range refused": ("status", 1.0),
}


@pytest.mark.parametrize(("kind", "most"), RESUMED.values(), ids=RESUMED)
def test_a_broken_resumption_ends_with_the_right_bytes(hub: Hub, kind: str, most: float) -> None:
    hub.fail("drop", at=300_000)
    hub.fail(kind, status=416, no_ranges=kind == "none")
    assert read_only_file(fetch()) == DATA
    assert hub.bytes_sent <= most * SIZE + 300_000


def test_other_bytes_under_the_right_range_are_found_out_and_fetched_again(hub: Hub) -> None:
    hub.fail("drop", at=300_000)
    hub.fail("wrong_bytes")
    log = Log()
    assert read_only_file(fetch(log)) == DATA
    assert log.notices[-1] == "model.gguf arrived damaged; fetching it again"


def test_drops_cost_no_byte_twice(hub: Hub) -> None:
    hub.fail("drop", at=130_000, times=None)
    fetch()
    assert hub.bytes_sent == SIZE


FAILING = {
    "connection dropped for ever": ({"kind": "drop", "at": 0}, NetworkError, "closed the connection"),
    "stalled for ever": ({"kind": "stall", "at": 0}, NetworkError, "timed out"),
    "trickling for ever": ({"kind": "trickle", "at": 0, "seconds": 0.05}, NetworkError, "bytes of model.gguf in"),
    "storage down": ({"kind": "status", "status": 503}, NetworkError, "answers 503"),
    "addresses always expired": ({"kind": "status", "status": 403}, NetworkError, "expired"),
    "web page for ever": ({"kind": "html"}, NetworkError, "answers with a web page"),
    "half the length for ever": ({"kind": "short"}, NetworkError, "sends 500000 bytes where 1000000 are expected"),
    "asked to wait a day": (
        {"kind": "status", "status": 429, "headers": {"Retry-After": "86400"}},
        NetworkError,
        "answers 429",
    ),
    "redirects in a circle": ({"kind": "loop", "where": "hub"}, NetworkError, "more than 5 redirects"),
    "hub down": ({"kind": "status", "status": 503, "where": "api"}, NetworkError, "answers 503"),
    "hub is a web page": ({"kind": "html", "where": "api"}, NetworkError, "no JSON"),
    "file gone from the hub": ({"kind": "status", "status": 404, "where": "hub"}, UnknownNameError, "answers 404"),
    "hub refuses the file": ({"kind": "status", "status": 403, "where": "hub"}, LicenseError, "answers 403"),
    "hub refuses the listing": ({"kind": "status", "status": 403, "where": "api"}, LicenseError, "answers 403"),
}


@pytest.mark.parametrize(("fault", "error", "evidence"), FAILING.values(), ids=FAILING)
def test_what_does_not_pass_is_a_typed_error_with_its_cause(
    hub: Hub, fault: dict[str, object], error: type[LfError], evidence: str
) -> None:
    hub.fail(**fault, times=None)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        fetch()
    assert type(caught.value) is error
    assert evidence in (caught.value.detail or "")
    assert caught.value.hint
    assert manifest.find_all() == ()


def test_a_server_that_always_starts_again_and_breaks_at_the_same_byte_makes_no_progress(hub: Hub) -> None:
    hub.fail("drop", at=300_000, times=None, no_ranges=True)
    with pytest.raises(NetworkError):
        fetch()
    assert hub.bytes_sent == FAST.tries * 300_000


def test_corrupt_for_ever_is_an_error_with_both_digests_and_nothing_is_kept(hub: Hub) -> None:
    hub.fail("corrupt", at=10, times=None)
    with pytest.raises(IntegrityError) as caught:
        fetch()
    wrong = DATA[:10] + bytes([DATA[10] ^ 0xFF]) + DATA[11:]
    assert caught.value.detail == f"announced: {sha256(DATA)}\nreceived:  {sha256(wrong)}"
    assert find_files() == []
    assert hub.bytes_sent == 2 * SIZE


def test_a_small_file_is_held_against_its_git_digest(hub: Hub) -> None:
    hub.add_repo("org/small", {"model.gguf": DATA[:1000], "config.json": b'{"a": 1}'})
    hub.fail("corrupt", "hub", at=3, times=None, path="config.json")
    with pytest.raises(IntegrityError, match=r"config\.json of `org/small` is not the file that was announced"):
        pull(*make_model("org/small", "model.gguf", "config.json"), limits=FAST)


def test_giving_up_keeps_what_there_is_and_the_next_pull_goes_on(hub: Hub) -> None:
    hub.fail("drop", at=700_000)
    hub.fail("status", times=None)
    with pytest.raises(NetworkError) as caught:
        fetch()
    assert caught.value.hint == "Check the connection and run the same command again; it goes on where it stopped."
    assert find_kept_bytes() == [700_000]
    hub.faults.clear()
    assert read_only_file(fetch()) == DATA
    assert hub.bytes_sent == SIZE


def test_a_part_that_was_damaged_on_disk_is_fetched_again(hub: Hub) -> None:
    hub.fail("drop", at=700_000)
    hub.fail("status", times=None)
    with pytest.raises(NetworkError):
        fetch()
    spoil_part(bytes(SIZE))
    hub.faults.clear()
    assert read_only_file(fetch()) == DATA


@pytest.mark.parametrize("size", [SIZE, SIZE + 5], ids=["complete but wrong", "too long"])
def test_a_part_that_cannot_be_a_beginning_is_thrown_away(hub: Hub, size: int) -> None:
    hub.fail("drop", at=700_000)
    hub.fail("status", times=None)
    with pytest.raises(NetworkError):
        fetch()
    spoil_part(bytes(size))
    for journal in paths.data_dir().rglob("*.journal"):
        journal.unlink()
    hub.faults.clear()
    assert read_only_file(fetch()) == DATA


def test_a_stall_is_told_while_it_lasts(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_STALL_S", 0.1)
    hub.fail("stall", at=300_000)
    log = Log()
    assert read_only_file(fetch(log, replace(FAST, read_s=1.0))) == DATA
    assert "still waiting" in log.notices[0]
    assert log.notices[1].startswith("timed out (TimeoutError); trying again in")


def test_waits_are_obeyed_and_told(hub: Hub) -> None:
    hub.fail("status", status=429, headers={"Retry-After": "1"})
    log, started = Log(), time.monotonic()
    fetch(log)
    assert time.monotonic() - started >= 1.0
    assert log.notices == ["127.0.0.1 answers 429; trying again in 1.0 s"]


def test_nobody_listening_is_an_error_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkError) as caught:
        fetch()
    assert caught.value.message == "127.0.0.1:9 cannot be reached"
    assert "Connection refused" in (caught.value.detail or "")


def test_an_unknown_host_is_an_error_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with pytest.raises(NetworkError, match=r"hub\.invalid cannot be reached"):
        fetch()


def test_a_gated_repository_says_where_to_accept(hub: Hub) -> None:
    hub.repos["org/model"].gated = True
    with pytest.raises(LicenseError) as caught:
        fetch()
    page = f"{hub.url}/org/model"
    wanted = f"Accept the terms at {page} in a browser, then `lf login` with a token of that account, or set HF_TOKEN."
    assert caught.value.hint == wanted


def test_the_token_opens_the_gate_and_never_reaches_the_storage(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["org/model"].gated = True
    hub.tokens = hub.accepted = {"hf_secret"}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert read_only_file(fetch()) == DATA
    assert hub.find_tokens("hub") == {"Bearer hf_secret"}
    assert hub.find_tokens("cdn") == set()


def test_a_token_without_access_is_told_apart_from_none(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["org/model"].gated = True
    hub.tokens = {"hf_secret"}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(LicenseError) as caught:
        fetch()
    assert "with the account of your token" in (caught.value.hint or "")
    assert "hf_secret" not in f"{caught.value} {caught.value.detail} {caught.value.hint}"


def test_a_commit_that_is_gone_is_a_clear_error(hub: Hub) -> None:
    model, variant = make_model("org/model", "model.gguf", revision="0" * 40)
    with pytest.raises(UnknownNameError, match=f"`org/model` has no revision `{'0' * 40}`"):
        pull(model, variant, limits=FAST)


def test_a_pinned_commit_is_fetched_though_the_branch_has_moved(hub: Hub, repo: str) -> None:
    hub.add_repo("org/model", {"model.gguf": b"newer"})
    model, variant = make_model("org/model", "model.gguf", revision=repo)
    assert read_only_file(pull(model, variant, limits=FAST)) == DATA


def test_a_moved_branch_does_not_replace_what_is_installed(hub: Hub) -> None:
    installed = fetch()
    newer = hub.add_repo("org/model", {"model.gguf": b"newer"})
    log = Log()
    model, variant = make_model("org/model", "model.gguf", revision=newer)
    assert pull(model, variant, report=log.append) == installed
    assert log.notices == [
        f"uses {(installed.revision or '')[:12]}; the catalog names {newer[:12]} now (lf model update)"
    ]


def test_files_that_vanish_are_fetched_again_and_nothing_else(hub: Hub) -> None:
    files = {"a-00001-of-00002.gguf": DATA[:5000], "a-00002-of-00002.gguf": DATA[5000:7000]}
    hub.add_repo("org/split", files)
    wanted = make_model("org/split", "a-*.gguf")
    first = pull(*wanted, limits=FAST)
    sent = hub.bytes_sent
    (Path(first.root) / "a-00002-of-00002.gguf").unlink()
    again = pull(*wanted, limits=FAST)
    assert again._replace(created=first.created) == first
    assert (Path(again.root) / "a-00002-of-00002.gguf").read_bytes() == DATA[5000:7000]
    assert hub.bytes_sent - sent == 2000
