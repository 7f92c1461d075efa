"""`lf doctor`: it names what is wrong and what to type, connects to nothing unasked, and records without names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.cli.test_offline import trace
from tests.conftest import Lf
from tests.fixtures.engines import Bare, need_engine
from tests.fixtures.hub import Fault, Hub

from localfirst.services.doctor import find_public_file


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """For what is no engine's: to test all that are here takes ten times as long as everything else."""
    return Bare(tmp_path / "lf-home")


def examine(lf: Lf, *words: str) -> tuple[int, dict[str, dict]]:
    """The exit code, and the checks by name."""
    done = lf("doctor", "--json", *words)
    assert done.stderr == ""
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_sound_installation_has_no_problem_and_every_engine_passed_its_test(lf: Lf) -> None:
    code, checks = examine(lf)
    assert code == 0
    assert {name for name, check in checks.items() if check["state"] in {"problem", "warning"}} <= {"Terminal"}
    assert {checks["llama-cpu"]["state"], checks["onnx-cpu"]["state"]} == {"ok"}
    assert all("commit" in checks[name]["evidence"][0] for name in ("llama-cpu", "onnx-cpu"))
    assert checks["Python"]["evidence"] == [sys.executable]


def test_it_reads_like_a_report(lf: Lf) -> None:
    done = lf("doctor")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok  Python: ")
    assert lines[-2:] == ["", "No problem found"]


def test_it_connects_to_nothing_unasked(lf: Lf, tmp_path: Path) -> None:
    assert trace(lf, tmp_path, "doctor") == []


def test_with_network_every_host_is_listed(bare: Bare) -> None:
    with Hub() as hub:
        repo, path = find_public_file() or ("", "")
        hub.add_repo(repo, {path: b"x" * 1000})
        bare.environment |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "PIP_INDEX_URL": f"{hub.url}/simple/"}
        bare.environment |= {"HTTPS_PROXY": "http://127.0.0.1:9"}  # all other hosts are out of reach
        done = bare("doctor", "--network", "--json")
        checks = [(one["name"], one["state"], one["summary"]) for one in json.loads(done.stdout)["checks"]]
    engines = [(state, summary) for name, state, summary in checks if name == "Engines"]
    assert done.returncode == 0
    assert [state for name, state, _ in checks if name in {"Hub", "Files"}] == ["ok", "ok"]
    assert any(state == "ok" and "127.0.0.1" in summary and "onnx-cpu" in summary for state, summary in engines)
    assert any(state == "warning" and "llama-cuda" in summary for state, summary in engines)


def test_with_network_it_asks_the_hub_and_names_it(bare: Bare) -> None:
    with Hub() as hub:
        bare.environment |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}
        code, checks = examine(bare, "--network")
        assert (code, checks["Hub"]["state"]) == (0, "ok")
        assert hub.url.removeprefix("http://") in checks["Hub"]["summary"]
        hub.faults.append(Fault("html", where="api"))
        code, checks = examine(bare, "--network")
        assert (code, checks["Hub"]["state"]) == (1, "problem")
        assert "did not answer as a hub does" in checks["Hub"]["summary"]


PROXY = "{} is not the address of a proxy that can be used"


@pytest.mark.parametrize(
    ("environment", "name", "summary"),
    [
        pytest.param({"SSL_CERT_FILE": "/no/such/file"}, "Settings", "SSL_CERT_FILE names no file", id="certificates"),
        pytest.param(
            {"https_proxy": "http://proxy:port"},
            "Proxy",
            "https_proxy is not the address of a proxy that can be used",
            id="port",
        ),
        pytest.param(
            {"ALL_PROXY": "ftp://proxy:21"},
            "Proxy",
            "ALL_PROXY is not the address of a proxy that can be used",
            id="kind of proxy",
        ),
        pytest.param({"HF_ENDPOINT": "hub"}, "Settings", "HF_ENDPOINT is not a web address", id="hub"),
        pytest.param(
            {"LF_RUNTIME_ONNX_CPU": "/no/python"},
            "onnx-cpu",
            "`LF_RUNTIME_ONNX_CPU` does not name a Python that can import onnxruntime_genai: /no/python",
            id="runtime",
        ),
        pytest.param({"LF_RUNTIME_ONNX_CPU": "/bin/false"}, "onnx-cpu", None, id="an engine that does not start"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_type(
    bare: Bare, environment: dict, name: str, summary: str | None
) -> None:
    bare.environment |= environment
    code, checks = examine(bare)
    assert (code, checks[name]["state"]) == (1, "problem")
    assert checks[name]["hint"]
    assert summary in {None, checks[name]["summary"]}


def test_a_variable_that_names_another_program_is_what_is_to_be_changed(lf: Lf) -> None:
    need_engine("xllamacpp")
    lf.environment |= {"LF_RUNTIME_LLAMA_CPU": "/bin/false"}
    hint = "`LF_RUNTIME_LLAMA_CPU` names what was started, /bin/false. Set it to the path of one, or unset it"
    assert examine(lf)[1]["llama-cpu"]["hint"] == hint
    done = lf("run", "starter", "hi", "--backend", "llama-cpu", "--json")
    assert json.loads(done.stderr)["error"]["hint"] == hint


@pytest.mark.parametrize("proxy", ["http://proxy:port", "ftp://proxy:21"])
def test_a_proxy_that_is_none_is_no_crash(bare: Bare, proxy: str) -> None:
    bare.environment |= {"HTTPS_PROXY": proxy, "HF_ENDPOINT": "https://hub.invalid"}
    code, checks = examine(bare, "--network")
    assert (code, checks["Proxy"]["state"], checks["Hub"]["state"]) == (1, "problem", "problem")
    done = bare("pull", "hf:org/repo")
    assert (done.returncode, done.stderr.startswith("error: ")) == (6, True)


def test_a_folder_that_cannot_be_written_is_a_problem(bare: Bare, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    bare.home = blocked / "home"
    code, checks = examine(bare)
    assert (code, checks["Data folder"]["state"]) == (1, "problem")
    assert "LF_HOME" in checks["Data folder"]["hint"]


def test_secrets_are_not_shown(bare: Bare) -> None:
    bare.environment |= {"HTTPS_PROXY": "http://me:hunter2@proxy:3128", "HF_TOKEN": "hf_secret"}
    done = bare("doctor", "-v")
    assert "hunter2" not in done.stdout
    assert "hf_secret" not in done.stdout
    assert "HTTPS_PROXY=http://***@proxy:3128" in done.stdout
    assert "Token: found in HF_TOKEN" in done.stdout


def test_interrupted_downloads_are_told(bare: Bare) -> None:
    part = bare.home / "models" / "org--repo" / "0123456789ab" / "m@q" / ".partial" / "aa.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0" * 8192)
    _, checks = examine(bare)
    assert checks["Downloads"]["summary"] == "1 not finished, 8.19 kB"


def test_a_record_is_this_machine_without_its_names_and_is_never_replaced_unasked(lf: Lf, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    assert lf("doctor", "--record", str(path)).returncode == 0
    ours, theirs = (json.loads(lf("hw", "--json", *words).stdout) for words in ((), ("--profile", str(path))))
    for machine in (ours, theirs):
        machine["memory"].pop("available_bytes")
        machine.pop("disk_free_bytes")
    assert ours == theirs
    again = lf("doctor", "--record", str(path))
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    assert lf("doctor", "--record", str(path), "--force").returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the word is one of Linux")
def test_a_record_tells_nobodys_name(lf: Lf, tmp_path: Path) -> None:
    """The user is called like a word that the probe reads and does not need: whoever runs this may be `root`."""
    records = []
    for user in ("someone-else", "SwapCached"):
        lf.environment |= {"LOGNAME": user}
        path = tmp_path / f"{user}.json"
        assert lf("doctor", "--record", str(path)).returncode == 0
        records.append(json.loads(path.read_text("utf-8"))["files"]["/proc/meminfo"])
    assert ["\nSwapCached:" in text for text in records] == [True, False]
    assert "\nprivate:" in records[1]


def test_a_record_that_cannot_be_written_is_an_error(lf: Lf, tmp_path: Path) -> None:
    done = lf("doctor", "--record", str(tmp_path / "no" / "folder.json"))
    assert (done.returncode, done.stderr.startswith("error: ")) == (2, True)


def test_the_place_of_the_store_and_shared_ones_are_told(bare: Bare, tmp_path: Path) -> None:
    newer = bare.home / "models" / "org--repo" / "0123456789ab" / "m@q" / "manifest.json"
    newer.parent.mkdir(parents=True)
    newer.write_text('{"schema": "lf.manifest/9", "lf_version": "8.1"}')
    bare.environment |= {"LF_SHARED_STORES": str(tmp_path / "nowhere")}
    assert bare("store", "move", str(tmp_path / "disk")).returncode == 0
    done = bare("doctor", "--json")
    checks = json.loads(done.stdout)["checks"]
    found = {check["name"]: check for check in checks if check["name"] in {"Store folder", "Shared store"}}
    assert found["Store folder"]["summary"].startswith(str(tmp_path / "disk"))
    assert found["Shared store"]["state"] == "note"
    assert found["Shared store"]["summary"] == f"{tmp_path / 'nowhere'}: there is no such folder"
    (told,) = [check for check in checks if "lf 8.1" in check["summary"]]
    assert told["state"] == "note"
