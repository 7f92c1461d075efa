"""Unfinished and damaged files: fetched in parts, cut off by a power cut, repaired where they are damaged."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.store.test_store_faults import FAST, PASSING, Log
from tests.fixtures.hub import Hub, make_model, sha256

from localfirst import paths
from localfirst.errors import IntegrityError, LfError, NetworkError
from localfirst.services.files import verify_models
from localfirst.services.imported import describe
from localfirst.store import manifest
from localfirst.store.pull import fetch, pull, repair
from localfirst.store.transfer import journal
from localfirst.store.transfer.journal import BLOCK_BYTES, Journal
from localfirst.store.transfer.trail import find_trail
from localfirst.store.verify import verify

if TYPE_CHECKING:
    from localfirst.store.net.wire import Limits
    from localfirst.types import InstalledModel

BLOCKS = 8
SIZE = BLOCKS * BLOCK_BYTES - 1234
DATA = random.Random(7).randbytes(SIZE)  # noqa: S311 (the same bytes in every run)


def narrow(limits: Limits, connections: int) -> Limits:
    """The same patience, and pieces of one block."""
    return replace(limits, connections=connections, piece_min_bytes=BLOCK_BYTES, piece_max_bytes=BLOCK_BYTES)


SLOW = 10_000_000
"""Bytes per second of each connection at which others are called to help."""
WIDE = narrow(FAST, 3)


@pytest.fixture(autouse=True)
def repo(hub: Hub) -> str:
    return hub.add_repo("org/model", {"model.gguf": DATA})


def get(log: Log | None = None, limits: Limits = WIDE) -> InstalledModel:
    return pull(
        *make_model("org/model", "model.gguf"), report=(log if log is not None else Log()).append, limits=limits
    )


def find_asked(hub: Hub) -> list[str]:
    """The ranges that the storage was asked for."""
    return [one.headers.get("Range", "all") for one in hub.requests if one.port == "cdn"]


def read(model: InstalledModel) -> bytes:
    return (Path(model.root) / "model.gguf").read_bytes()


def test_a_file_is_fetched_in_parts_by_several_connections_each_byte_once(hub: Hub) -> None:
    log = Log()
    hub.rate_bytes_per_s = SLOW
    assert read(get(log)) == DATA
    assert sorted(find_asked(hub)) == sorted(
        f"bytes={start}-{min(start + BLOCK_BYTES, SIZE) - 1}" for start in range(0, SIZE, BLOCK_BYTES)
    )
    assert hub.bytes_sent == SIZE
    assert (log[-1].done, log[-1].total, log.notices) == (SIZE, SIZE, [])
    assert 1 <= sum(request.port == "hub" and "/resolve/" in request.path for request in hub.requests) <= 3
    assert hub.most_at_once == 3


def test_the_parts_are_the_parts_of_one_file(hub: Hub) -> None:
    get()
    (first, *others) = [one.headers.get("If-Range") for one in hub.requests if one.port == "cdn"]
    assert first is None
    assert {etag for etag in others if etag} == {f'"{sha256(DATA)[:32]}"'}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_ends_with_the_right_bytes_of_all_parts(hub: Hub, fault: dict[str, object]) -> None:
    hub.rate_bytes_per_s = SLOW
    hub.fail(**fault)  # type: ignore[arg-type]
    assert read(get()) == DATA


def test_addresses_that_expire_in_the_middle_are_asked_for_anew(hub: Hub) -> None:
    hub.fail("none", times=3)
    hub.fail("status", status=403, times=2)
    assert read(get()) == DATA
    assert hub.bytes_sent == SIZE


def test_a_server_that_ignores_ranges_sends_one_stream(hub: Hub) -> None:
    hub.fail("none", times=None, no_ranges=True)
    assert read(get()) == DATA
    assert hub.bytes_sent == SIZE


def test_a_server_that_takes_one_connection_alone_is_left_with_one(hub: Hub) -> None:
    hub.rate_bytes_per_s = SLOW
    hub.fail("none", times=1)
    hub.fail("status", status=429, times=6)
    assert read(get()) == DATA
    assert hub.bytes_sent == SIZE


def test_another_entity_tag_is_no_other_file_where_the_digest_says_so(hub: Hub) -> None:
    hub.fail("drop", at=300_000)
    hub.fail("status", times=None)
    with pytest.raises(NetworkError):
        get()
    (path,) = paths.data_dir().rglob("*.journal")
    known = Journal(path, SIZE)
    known.remember_etag('"of another server"')
    known.close()
    hub.faults.clear()
    assert read(get()) == DATA
    assert hub.bytes_sent < 1.6 * SIZE  # the first answer to the foreign tag is the whole file, and is not read


def interrupt(hub: Hub, at: int) -> Path:
    """An unfinished file with everything but some blocks."""
    hub.fail("none", times=at)
    hub.fail("status", times=None)
    with pytest.raises(NetworkError):
        get()
    hub.faults.clear()
    hub.bytes_sent = 0
    (part,) = paths.data_dir().rglob("*.part")
    return part


def test_after_a_power_cut_only_what_was_durable_counts(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    part = interrupt(hub, 5)
    table = Journal(part.with_suffix(".journal"), SIZE)
    durable = {index: length for index, length in enumerate(table.lengths) if index in {0, 1, 3}}
    table.mark_durable(durable)
    table.close()
    content = bytearray(part.read_bytes())
    for index in range(BLOCKS):
        if index not in durable:  # written and lost
            content[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES] = bytes(BLOCK_BYTES)
    part.write_bytes(content[:SIZE])
    monkeypatch.setattr(journal, "read_boot_id", lambda: "another start of this computer")
    log = Log()
    assert read(get(log)) == DATA
    assert hub.bytes_sent == SIZE - sum(durable.values())
    assert log.notices == []


def test_after_a_kill_everything_that_was_written_counts(hub: Hub) -> None:
    if journal.read_boot_id() is None:
        pytest.skip("this system does not tell one start from another")
    interrupt(hub, 5)
    assert read(get()) == DATA
    assert hub.bytes_sent == SIZE - 5 * BLOCK_BYTES


def test_what_is_written_is_durable_before_the_journal_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from localfirst.store.transfer import part

    order: list[str] = []
    monkeypatch.setattr(part, "SYNC_BYTES", 1)
    monkeypatch.setattr(part.Part.sync, "__kwdefaults__", {"at_least": 1})
    monkeypatch.setattr(part, "sync_file", lambda _: order.append("bytes"))
    said = Journal.mark_durable
    monkeypatch.setattr(Journal, "mark_durable", lambda self, lengths: (order.append("journal"), said(self, lengths)))
    hub.rate_bytes_per_s = 5_000_000
    get(limits=narrow(FAST, 1))
    assert order[0] == "bytes"
    assert order.count("journal") >= 1
    assert all(before == "bytes" for before, after in pairwise(order) if after == "journal")


damage = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 300_000), st.binary(max_size=3)), max_size=5)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(damage, st.binary(max_size=600), st.integers(0, SIZE + 10), st.booleans())
def test_whatever_is_left_of_a_part_ends_in_the_right_bytes(
    hub: Hub, holes: list[tuple[int, int, bytes]], table: bytes, length: int, cut_journal: bool
) -> None:
    shutil.rmtree(paths.models_dir(), ignore_errors=True)
    part = interrupt(hub, 4)
    content = bytearray(part.read_bytes())
    for start, size, filling in holes:
        content[start : start + size] = (filling * size)[:size].ljust(size, b"\0")
    part.write_bytes(content[:length])
    path = part.with_suffix(".journal")
    path.write_bytes(path.read_bytes()[: len(table)] if cut_journal else table + path.read_bytes()[len(table) :])
    assert read(get()) == DATA
    assert verify(manifest.find_all()[0]) == ()


def spoil(model: InstalledModel, *places: int) -> None:
    with (Path(model.root) / "model.gguf").open("r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 1]))


def mend(model: InstalledModel) -> InstalledModel:
    problems = verify(model)
    assert [problem.path for problem in problems] == ["model.gguf"]
    return repair(model, describe(model), [problem.path for problem in problems], limits=WIDE)


@pytest.mark.parametrize(
    ("places", "blocks"),
    [([5], 1), ([SIZE - 1], 1), ([3 * BLOCK_BYTES, 6 * BLOCK_BYTES + 9], 2), ([0, BLOCK_BYTES], 3)],
)
def test_a_repair_fetches_the_damaged_blocks_and_no_others(hub: Hub, places: list[int], blocks: int) -> None:
    model = get()
    hub.bytes_sent = 0
    spoil(model, *places)
    assert mend(model)._replace(created=model.created) == model
    assert read(model) == DATA
    assert hub.bytes_sent <= blocks * BLOCK_BYTES
    assert find_trail(Path(model.root).parent / ".trails", sha256(DATA)).exists()  # for the next time


def test_a_file_that_was_cut_off_gets_its_end_back(hub: Hub) -> None:
    model = get()
    hub.bytes_sent = 0
    os.truncate(Path(model.root) / "model.gguf", 3 * BLOCK_BYTES + 5)
    mend(model)
    assert read(model) == DATA
    assert hub.bytes_sent <= SIZE - 3 * BLOCK_BYTES


@pytest.mark.parametrize("trail", [None, "lf.trail/1\nzz\n", "lf.trail/1\n" + "00" * 8 * BLOCKS + "\n"])
def test_without_a_right_trail_the_file_is_fetched_whole(hub: Hub, trail: str | None) -> None:
    model = get()
    (path,) = (Path(model.root).parent / ".trails").iterdir()
    path.unlink() if trail is None else path.write_text(trail)
    spoil(model, 5)
    mend(model)
    assert read(model) == DATA


def test_a_repair_without_the_hub_changes_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model = get()
    spoil(model, 5)
    before = read(model)
    hub.fail("status", "api", times=None)
    with pytest.raises(NetworkError):
        repair(model, describe(model), ["model.gguf"], limits=WIDE)
    assert (manifest.find_all(), read(model)) == ((model,), before)


def test_a_repair_from_a_hub_that_has_other_files_now_changes_nothing(hub: Hub) -> None:
    model = get()
    spoil(model, 5)
    hub.repos["org/model"].edit = lambda body: body["siblings"][0]["lfs"].update(sha256="0" * 64)
    with pytest.raises(IntegrityError):
        repair(model, describe(model), ["model.gguf"], limits=WIDE)
    assert manifest.find_all() == (model,)


def test_an_interrupted_repair_goes_on_as_a_pull(hub: Hub) -> None:
    model = get()
    spoil(model, 5)
    hub.bytes_sent = 0
    hub.fail("status", times=None)
    with pytest.raises(LfError):
        mend(model)
    assert manifest.find_all() == ()
    hub.faults.clear()
    assert read(get()) == DATA
    assert hub.bytes_sent <= BLOCK_BYTES


def test_verify_says_what_it_has_repaired(hub: Hub) -> None:
    model = get()
    spoil(model, 5)
    (found,) = verify_models(["tiny"], every=False, report=lambda _: None)
    assert ([problem.problem for problem in found.problems], found.repaired) == (["digest"], False)
    (mended,) = verify_models(["tiny"], every=False, repair=True, report=lambda _: None)
    assert (len(mended.problems), mended.repaired) == (1, True)
    assert verify(mended.model) == ()


def test_a_glance_reads_only_what_was_written_to_since(hub: Hub) -> None:
    model = get()
    path = Path(model.root) / "model.gguf"
    dated = path.stat().st_mtime
    spoil(model, 5)
    os.utime(path, (dated, dated))
    assert verify(model, quick=True) == ()
    os.utime(path, (dated + 100, dated + 100))
    assert [problem.problem for problem in verify(model, quick=True)] == ["digest"]


def test_the_same_bytes_in_another_model_are_copied_not_fetched(hub: Hub) -> None:
    get()
    hub.add_repo("org/other", {"model.gguf": DATA})
    hub.bytes_sent = 0
    other = pull(*make_model("org/other", "model.gguf", name="other"), limits=WIDE)
    assert (read(other), hub.bytes_sent) == (DATA, 0)
    assert find_trail(Path(other.root).parent / ".trails", sha256(DATA)).exists()


def test_bytes_of_another_model_that_were_damaged_are_not_copied(hub: Hub) -> None:
    spoil(get(), 7)
    hub.add_repo("org/other", {"model.gguf": DATA})
    log = Log()
    other = pull(*make_model("org/other", "model.gguf", name="other"), report=log.append, limits=WIDE)
    assert read(other) == DATA
    assert log[-1].done == SIZE


def test_a_revision_is_fetched_beside_another_one(hub: Hub) -> None:
    old = get()
    newer = hub.add_repo("org/model", {"model.gguf": DATA[::-1]})
    model, variant = make_model("org/model", "model.gguf", revision=newer)
    assert read(fetch(model, variant, limits=WIDE)) == DATA[::-1]
    assert read(old) == DATA
    assert len(manifest.find_all()) == 2


def test_a_pull_reads_again_what_was_written_to_since_and_mends_it(hub: Hub) -> None:
    model = get()
    path = Path(model.root) / "model.gguf"
    spoil(model, 5)
    os.utime(path, (path.stat().st_mtime + 100,) * 2)
    hub.bytes_sent = 0
    assert read(get()) == DATA
    assert hub.bytes_sent > 0


def test_what_was_touched_and_is_the_same_is_read_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from localfirst.store import verify as verifying

    model, hashed = get(), []
    path = Path(model.root) / "model.gguf"
    os.utime(path, (path.stat().st_mtime + 100,) * 2)
    real = verifying.hash_file
    monkeypatch.setattr(verifying, "hash_file", lambda *given: hashed.append(given[0]) or real(*given))
    assert get() == get() == model
    assert hashed == [path]
