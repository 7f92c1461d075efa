"""Whatever a hub does, in any order: the right bytes or a typed error; nothing outside the store; no token abroad."""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures.hub import Hub, make_model, sha256

from localfirst.errors import LfError
from localfirst.store import manifest
from localfirst.store.net.wire import Limits
from localfirst.store.pull import pull
from localfirst.store.transfer.journal import BLOCK_BYTES
from localfirst.store.verify import verify

SIZE = 3_300_000
DATA = random.Random(3).randbytes(SIZE)  # noqa: S311 (the same bytes in every run)
CONFIG = b'{"tiny": true}'
IMPATIENT = Limits(read_s=0.1, window_s=0.2, tries=3, backoff_s=0.001, backoff_max_s=0.002, retry_after_max_s=0.1)
IN_PARTS = replace(IMPATIENT, connections=3, piece_min_bytes=BLOCK_BYTES, piece_max_bytes=BLOCK_BYTES)

KINDS = (
    *("none", "drop", "reset", "stall", "corrupt", "wrong_range", "wrong_bytes"),
    *("short", "chunked", "long", "html", "status", "loop"),
)
faults = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "where": st.sampled_from(["cdn", "cdn", "cdn", "hub", "api"]),
        "at": st.integers(0, SIZE),
        "times": st.integers(1, 4),
        "status": st.sampled_from([400, 401, 403, 404, 410, 416, 429, 500, 503]),
        "no_ranges": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(faults, max_size=6), st.sampled_from([IMPATIENT, IN_PARTS]))
def test_any_faults_end_in_the_right_bytes_or_a_typed_error(chosen: list[dict[str, object]], limits: Limits) -> None:
    with tempfile.TemporaryDirectory() as folder, Hub() as hub:
        environment = {
            "LF_HOME": f"{folder}/home",
            "HF_HOME": f"{folder}/hf",
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_secret",
            "NO_PROXY": "127.0.0.1",
        }
        hub.tokens = {"hf_secret"}
        hub.add_repo("org/model", {"model.gguf": DATA, "config.json": CONFIG})
        for fault in chosen:
            hub.fail(**fault)  # type: ignore[arg-type]
        with mock.patch.dict(os.environ, environment):
            try:
                installed = pull(*make_model("org/model", "model.gguf", "config.json"), limits=limits)
            except LfError:
                assert manifest.find_all() == ()
            else:
                assert {file.path: file.sha256 for file in installed.files} == {
                    "model.gguf": sha256(DATA),
                    "config.json": sha256(CONFIG),
                }
                assert verify(installed) == ()
            # What was interrupted heals once the faults are over.
            hub.faults.clear()
            assert verify(pull(*make_model("org/model", "model.gguf", "config.json"), limits=limits)) == ()
        assert hub.find_tokens("cdn") == set()
        assert {path.name for path in Path(folder).iterdir()} <= {"home", "hf"}


PARTS = st.sampled_from(
    ["..", ".", "", "a", "con", "AUX.gguf", "x.gguf", "C:", "\\\\host", "~", "a\x00b", "\u202e", "é"]
)
evil_paths = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(evil_paths, min_size=1, max_size=3), st.one_of(st.none(), st.text(max_size=70)))
def test_no_listing_makes_a_file_outside_the_store(names: list[str], digest: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder, Hub() as hub:
        store = f"{folder}/home/models/"

        def edit(body: dict) -> None:
            for name in names:
                lfs = {"size": 4, "sha256": digest, "pointerSize": 1} if digest is not None else None
                body["siblings"].append({"rfilename": name, "size": 4, "blobId": "0" * 40, "lfs": lfs})

        hub.add_repo("org/model", {"model.gguf": DATA}, edit=edit)
        environment = {"LF_HOME": f"{folder}/home", "HF_HOME": f"{folder}/hf", "HF_ENDPOINT": hub.url}
        with mock.patch.dict(os.environ, environment | {"NO_PROXY": "127.0.0.1"}):
            try:
                pull(*make_model("org/model", "model.gguf", *names), limits=IMPATIENT)
            except LfError:
                assert manifest.find_all() == ()
        files = [str(path) for path in Path(folder).rglob("*") if path.is_file()]
        assert [path for path in files if not path.startswith(store)] == []
