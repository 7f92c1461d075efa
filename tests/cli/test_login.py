"""`lf login` and `lf logout`: the token is checked, kept where the hub's own tools keep theirs, and never shown."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.hub import Hub

TOKEN = "hf_good"


@pytest.fixture
def hub(lf: Lf, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as running:
        running.tokens = running.accepted = {TOKEN}
        running.add_repo("org/closed", {"closed-q4_0.gguf": b"GGUF" + bytes(2000)}, private=True)
        running.add_repo("org/gated", {"gated-q4_0.gguf": b"GGUF" + bytes(3000)}, gated=True)
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


def find_kept(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "hf").rglob("*") if path.is_file() and TOKEN in path.read_text()}


def test_a_piped_token_opens_what_was_closed_until_the_logout(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    assert "lf login" in lf("pull", "hf:org/closed").stderr
    done = lf("login", "--token-stdin", stdin=f"{TOKEN}\n")
    assert done.returncode == 0, done.stderr
    assert " as tester (laptop, may read)" in " ".join(done.stdout.split())
    assert TOKEN not in done.stdout + done.stderr
    assert "token" in find_kept(tmp_path)
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "hf" / "token").stat().st_mode) == 0o600
    assert lf("pull", "hf:org/closed").returncode == 0
    assert lf("logout").returncode == 0
    assert find_kept(tmp_path) == set()
    assert lf("pull", "hf:org/gated").returncode == 10
    assert hub.find_tokens("cdn") == set()


def test_a_token_that_was_kept_for_one_hub_is_not_sent_to_another(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    assert lf("login", "--token-stdin", stdin=TOKEN).returncode == 0
    with Hub() as other:
        other.add_repo("org/closed", {"closed-q4_0.gguf": b"GGUF" + bytes(2000)}, private=True)
        lf.environment["HF_ENDPOINT"] = other.url
        refused = lf("pull", "hf:org/closed")
        assert refused.returncode == 3
        assert "lf login" in refused.stderr
        assert lf("login", "--status").returncode == 1
        assert other.find_tokens("hub") == set()
    (tmp_path / "hf" / "token").write_text("hf_of_another_tool")  # which says nothing of where it belongs
    lf.environment["HF_ENDPOINT"] = hub.url
    lf("pull", "hf:org/closed")
    assert "Bearer hf_of_another_tool" in hub.find_tokens("hub")


def test_the_status_says_who_it_is_and_ends_with_1_where_it_is_nobody(lf: Lf, hub: Hub) -> None:
    nobody = lf("login", "--status")
    assert (nobody.returncode, nobody.stdout.startswith("Not logged in")) == (1, True)
    assert lf("login", "--token-stdin", stdin=TOKEN).returncode == 0
    said = json.loads(lf("login", "--status", "--json").stdout)
    assert said == {
        "hub": hub.url,
        "logged_in": True,
        "user": "tester",
        "token_name": "laptop",
        "role": "read",
        "source": "the token of `lf login`",
        "overruled_by": None,
    }
    requests = len(hub.requests)
    assert json.loads(lf("--offline", "login", "--status", "--json").stdout)["user"] is None
    assert len(hub.requests) == requests


def test_a_variable_is_said_to_win(lf: Lf, hub: Hub) -> None:
    hub.tokens = {TOKEN, "hf_other"}
    lf.environment["HF_TOKEN"] = "hf_other"
    for words in (["login", "--token-stdin"], ["login", "--status"], ["logout"]):
        done = lf(*words, stdin=TOKEN)
        assert done.returncode == 0, done.stderr
        assert "HF_TOKEN is set" in done.stdout
        assert "hf_other" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["HF_TOKEN", None])
def test_a_token_that_the_hub_does_not_know_is_told_apart_and_not_kept(
    lf: Lf, hub: Hub, tmp_path: Path, name: str | None
) -> None:
    done = lf("login", "--token-stdin", stdin="hf_bad")
    assert (done.returncode, "does not know your token" in done.stderr) == (10, True)
    assert "hf_bad" not in done.stderr
    assert not (tmp_path / "hf" / "token").exists()
    if name is None:
        (tmp_path / "hf").mkdir(exist_ok=True)
        (tmp_path / "hf" / "token").write_text("hf_bad")
    else:
        lf.environment[name] = "hf_bad"
    for words in (["pull", "hf:org/gated"], ["login", "--status"]):
        done = lf(*words)
        assert (done.returncode, "does not know your token" in done.stderr) == (10, True)
        assert (name or "then type `lf login`") in done.stderr
        assert "hf_bad" not in done.stderr


@pytest.mark.parametrize(
    ("words", "stdin", "code", "said"),
    [
        (["login"], "", 2, "--token-stdin"),
        (["login", "--token-stdin"], "\n", 2, "No token was given"),
        (["login", "--token-stdin"], "hf_typed on two words", 2, "is not a token"),
        (["login", "hf_typed"], "", 2, "--token-stdin"),
        (["login", "--token", "hf_typed"], "", 2, "--token-stdin"),
        (["login", "--token=hf_typed"], "", 2, "--token-stdin"),
        (["login", "--token-stdin", "hf_typed"], TOKEN, 2, "--token-stdin"),
        (["--offline", "login", "--token-stdin"], TOKEN, 6, "--offline"),
        (["login", "--token-stdin", "--offline"], TOKEN, 6, "--offline"),
    ],
)
def test_what_cannot_be_done_is_said_and_no_token_shown(
    lf: Lf, hub: Hub, words: list[str], stdin: str, code: int, said: str
) -> None:
    done = lf(*words, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "hf_typed" not in done.stderr
    assert hub.requests == []


def test_a_hub_that_is_down_keeps_no_token(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    hub.fail("status", "api", status=503, times=None)
    done = lf("login", "--token-stdin", stdin=TOKEN)
    assert (done.returncode, "503" in done.stderr) == (6, True)
    lf.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    done = lf("login", "--token-stdin", stdin=TOKEN)
    assert (done.returncode, "127.0.0.1:9 cannot be reached" in done.stderr) == (6, True)
    assert find_kept(tmp_path) == set()


@pytest.mark.parametrize("account", [[], {}, {"name": 7}, {"name": ""}, "x", {"name": "a", "auth": 7}])
def test_an_answer_that_names_nobody_is_no_hubs(lf: Lf, hub: Hub, tmp_path: Path, account: object) -> None:
    hub.account = account
    done = lf("login", "--token-stdin", stdin=TOKEN)
    assert done.returncode == 6
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_names_from_the_hub_do_not_drive_the_terminal(lf: Lf, hub: Hub) -> None:
    hub.account = {"name": "a\x1b[2Jb", "auth": {"accessToken": {"displayName": "c\x1b]0;x\x07d", "role": "\x1b[1m"}}}
    done = lf("login", "--token-stdin", stdin=TOKEN)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_place_that_cannot_be_written_or_read_is_named(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lf.environment["HF_HOME"] = str(tmp_path / "file" / "hf")
    done = lf("login", "--token-stdin", stdin=TOKEN)
    assert (done.returncode, "HF_HOME" in done.stderr) == (1, True)
    (tmp_path / "odd" / "token").mkdir(parents=True)
    lf.environment["HF_HOME"] = str(tmp_path / "odd")
    for words in (["login", "--status"], ["pull", "hf:org/gated"], ["login", "--token-stdin"], ["logout"]):
        done = lf(*words, stdin=TOKEN)
        assert done.returncode == 1, words
        assert str(tmp_path / "odd" / "token") in done.stderr.replace("\n  ", "")
        assert "Traceback" not in done.stderr


def test_a_token_that_renews_itself_does_so_at_home_and_never_offline(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    """As `hf auth login` keeps one after a login in a browser, an hour before its end."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(TOKEN)
    fields = f"hf_token = {TOKEN}\nrefresh_token = hf_renewal\nexpires_at = {int(time.time()) + 3600}\n"
    (tmp_path / "hf" / "stored_tokens").write_text(f"[oauth-tester]\n{fields}")
    for words in (["--offline", "login", "--status"], ["doctor"], ["--offline", "doctor"]):
        lf(*words)
    assert hub.requests == []
    with Hub() as other:
        hub.redirects["oauth/token"] = f"{other.url}/oauth/token"
        assert lf("login", "--status").returncode == 0
        assert [request.path for request in hub.requests] == ["oauth/token", "api/whoami-v2"]
        assert other.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_the_token_is_typed_unseen(lf: Lf, hub: Hub, tmp_path: Path) -> None:
    import pexpect

    command, *words = lf.command("login")
    child = pexpect.spawn(command, words, env=lf.env(), encoding="utf-8", timeout=60)
    child.expect_exact(f"Make a token at {hub.url}/settings/tokens")
    child.expect("not shown")
    child.sendline(TOKEN)
    child.expect("as tester")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert TOKEN not in f"{child.before}"
    assert find_kept(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("key", "codes"), [("\x03", {130}), ("\x04", {2})])
def test_who_changes_his_mind_is_let_go(lf: Lf, hub: Hub, key: str, codes: set[int]) -> None:
    import pexpect

    command, *words = lf.command("login")
    child = pexpect.spawn(command, words, env=lf.env(), encoding="utf-8", timeout=60)
    child.expect("not shown")
    child.send(key)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus in codes
    assert f"{child.before}".replace("^C", "").startswith("): \r\n"), "what follows begins a line"
    assert "Traceback" not in f"{child.before}"
    assert hub.requests == []


def test_a_mirror_is_asked_instead_of_the_hub_for_this_command(lf: Lf, hub: Hub) -> None:
    with Hub() as mirror:
        mirror.add_repo("org/open", {"open-q4_0.gguf": b"GGUF" + bytes(2000)})
        lf.environment["HF_TOKEN"] = TOKEN
        assert lf("--mirror", mirror.url, "model", "info", "hf:org/open").returncode == 0
        assert lf("pull", "hf:org/open", "--mirror", f"{mirror.url}/").returncode == 0
        assert {request.port for request in mirror.requests} == {"hub", "cdn"}
        assert mirror.find_tokens("hub") == mirror.find_tokens("cdn") == set()
    assert hub.requests == []
    done = lf("pull", "starter", "--mirror", "http://mirror.test")
    assert (done.returncode, "--mirror" in done.stderr) == (2, True)
