"""`lf launch` with scripts in the place of the real programs: what they are told, and that the server answers them."""

from __future__ import annotations

import json
import shlex
import stat
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.conftest import Lf
from tests.fixtures.serving import REPLY, Server, serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")
LEFT = 7
"""The exit code of the programs."""
PROGRAM = """#!{python}
import json, os, sys, urllib.request
told = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
ask = {{"model": os.environ.get("ASK_MODEL", "greeter"), "max_tokens": 50,
       "messages": [{{"role": "user", "content": "hi"}}]}}
if url := os.environ.get("ANTHROPIC_BASE_URL"):
    head = {{"content-type": "application/json", "authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]}}
    request = urllib.request.Request(url + "/v1/messages", json.dumps(ask).encode(), head)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    told["answer"] = json.load(opener.open(request))["content"][0]["text"]
open({record!r}, "w").write(json.dumps(told))
sys.exit({left})
"""


class Apps:
    """Programs on a PATH of their own, in a home of their own."""

    def __init__(self, lf: Lf, folder: Path) -> None:
        self.home, self.record = folder / "user", folder / "record.json"
        self.bin = folder / "bin"
        for made in (self.home, self.bin):
            made.mkdir()
        self.lf = Lf(lf.home, {**lf.environment, "HOME": str(self.home), "PATH": str(self.bin)})
        for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "LLM_USER_PATH", "CRUSH_GLOBAL_CONFIG"):
            self.lf.environment[name] = ""
        self.lf.environment |= {"ANTHROPIC_API_KEY": "a real one", "HF_TOKEN": "another", "MINE": "kept"}

    def add(self, *names: str) -> None:
        for name in names:
            path = self.bin / name
            path.write_text(PROGRAM.format(python=sys.executable, record=str(self.record), left=LEFT))
            path.chmod(0o755)

    def launch(self, *words: str) -> dict:
        """Launch one; what it was told."""
        done = self.lf("launch", *words)
        assert done.returncode == LEFT, done.stderr
        return json.loads(self.record.read_text())

    def find_copies(self, path: Path) -> list[Path]:
        return sorted(path.parent.glob(f"{path.name}.lf-backup-*"))


@pytest.fixture
def apps(home: Lf, tmp_path: Path) -> Apps:
    return Apps(home, tmp_path)


@pytest.fixture
def server(home: Lf) -> Iterator[Server]:
    with serving(home) as running:
        yield running


def test_claude_code_asks_the_server_and_no_file_is_changed(apps: Apps, server: Server) -> None:
    apps.add("claude")
    told = apps.launch("claude", "--model", "greeter", "--", "-p", "hi there")
    assert told["argv"] == ["-p", "hi there"]
    assert told["env"]["ANTHROPIC_BASE_URL"] == server.root
    assert told["env"]["ANTHROPIC_MODEL"] == told["env"]["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "greeter"
    assert not {"ANTHROPIC_API_KEY", "HF_TOKEN"} & told["env"].keys()
    assert told["env"]["MINE"] == "kept"
    assert told["answer"] == REPLY
    assert list(apps.home.iterdir()) == []


def test_a_key_reaches_the_program_and_no_file(apps: Apps, home: Lf, tmp_path: Path) -> None:
    key = "a-key-of-some-length"
    (tmp_path / "key").write_text(key)
    apps.add("claude", "opencode")
    with serving(home, "--api-key-file", str(tmp_path / "key")):
        assert apps.launch("claude", "--model", "greeter")["answer"] == REPLY
        assert apps.launch("opencode", "--model", "greeter")["env"]["LOCALFIRST_API_KEY"] == key
        assert key not in apps.lf("launch", "claude", "--dry-run").stdout
    text = (apps.home / ".config/opencode/opencode.json").read_text()
    assert key not in text
    assert "{env:LOCALFIRST_API_KEY}" in text


def test_a_model_that_is_loaded_is_what_it_begins_with(apps: Apps, server: Server) -> None:
    apps.add("aider")
    assert apps.lf("load", "greeter").returncode == 0
    told = apps.launch("aider", "--", "--no-git")
    assert told["argv"] == ["--model", "openai/greeter", "--no-git"]
    assert told["env"]["OPENAI_API_BASE"] == server.url


def test_codex_gets_a_table_beside_what_is_there(apps: Apps, server: Server) -> None:
    apps.add("codex")
    path = apps.home / ".codex" / "config.toml"
    path.parent.mkdir()
    before = '# mine\nmodel = "o3" # dear to me\n\n[mcp_servers.docs]\ncommand = "docs"\n'
    path.write_text(before)
    path.chmod(0o640)
    told = apps.launch("codex", "--model", "greeter")
    assert told["argv"] == ["-c", 'model_provider="localfirst"', "-m", "greeter"]
    assert path.read_text().startswith(before)
    said = tomllib.loads(path.read_text())
    assert said["model_providers"]["localfirst"] == {
        "name": "localfirst",
        "base_url": server.url,
        "wire_api": "responses",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (copy,) = apps.find_copies(path)
    assert copy.read_text() == before
    apps.launch("codex", "--model", "greeter")  # nothing is left to do
    assert apps.find_copies(path) == [copy]
    done = apps.lf("launch", "codex", "--restore")
    assert (done.returncode, path.read_text(), apps.find_copies(path)) == (0, before, [])
    done = apps.lf("launch", "codex", "--restore")
    assert done.returncode == 2
    assert "lf did not change" in done.stderr


def test_opencode_is_told_every_model(apps: Apps, server: Server) -> None:
    apps.add("opencode")
    told = apps.launch("opencode", "--model", "greeter")
    assert told["argv"] == ["--model", "localfirst/greeter"]
    path = apps.home / ".config/opencode/opencode.json"
    provider = json.loads(path.read_text())["provider"]["localfirst"]
    assert provider["options"] == {"baseURL": server.url}
    assert {"greeter", "caller", "thinker"} <= provider["models"].keys()
    assert not {"embedder", "starter"} & provider["models"].keys()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert apps.lf("launch", "opencode", "--restore").returncode == 0
    assert not path.exists()


def test_zed_keeps_its_comments_and_a_link_to_its_settings(apps: Apps, server: Server, tmp_path: Path) -> None:
    apps.add("zed")
    real, path = tmp_path / "dotfiles.json", apps.home / ".config/zed/settings.json"
    real.write_text('// mine\n{\n  "theme": "One", // dear to me\n}\n')
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    told = apps.launch("zed", "--", ".")
    assert (told["argv"], told["env"]["LOCALFIRST_API_KEY"]) == (["."], "unused")
    assert path.is_symlink()
    assert real.read_text().startswith('// mine\n{\n  "theme": "One", // dear to me\n  "language_models"')
    assert server.url in real.read_text()
    done = apps.lf("launch", "zed", "--model", "greeter", "--dry-run")
    assert done.returncode == 2


def test_llm_goose_crush_and_open_webui(apps: Apps, server: Server) -> None:
    apps.add("llm", "goose", "crush", "open-webui")
    extra = apps.home / ".config/io.datasette.llm/extra-openai-models.yaml"
    if sys.platform.startswith("linux"):
        extra.parent.mkdir(parents=True)
        extra.write_text("- model_id: mine # best\n  model_name: m\n")
        assert apps.launch("llm", "--model", "greeter")["argv"] == ["chat", "-m", "localfirst/greeter"]
        told = apps.launch("llm", "--model", "greeter", "--", "Say hi")
        assert told["argv"] == ["-m", "localfirst/greeter", "Say hi"]
        first, *others = yaml.safe_load(extra.read_text())
        assert first == {"model_id": "mine", "model_name": "m"}
        assert {"model_id": "localfirst/greeter", "model_name": "greeter", "api_base": server.url} in others
    assert apps.launch("goose", "--model", "greeter", "--", "run", "-t", "hi")["argv"] == ["run", "-t", "hi"]
    told = apps.launch("goose", "--model", "greeter")
    assert told["argv"] == ["session"]
    told = told["env"]
    assert (told["GOOSE_PROVIDER"], told["GOOSE_MODEL"]) == ("openai", "greeter")
    assert f"{told['OPENAI_HOST']}/{told['OPENAI_BASE_PATH']}" == f"{server.url}/chat/completions"
    apps.launch("crush")
    crush = json.loads((apps.home / ".config/crush/crush.json").read_text())["providers"]["localfirst"]
    assert (crush["type"], crush["base_url"]) == ("openai-compat", server.url)
    assert all(one["context_window"] > one["default_max_tokens"] > 0 for one in crush["models"])
    told = apps.launch("open-webui")
    assert (told["argv"], told["env"]["OPENAI_API_BASE_URL"]) == (["serve"], server.url)


def test_continue_is_only_told(apps: Apps, server: Server) -> None:
    path = apps.home / ".continue/config.yaml"
    path.parent.mkdir()
    path.write_text("name: Mine\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: GPT # best\n    provider: openai\n")
    done = apps.lf("launch", "continue", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["command"], told["file"]["path"], told["file"]["changes"]) == (None, str(path), True)
    said = yaml.safe_load(path.read_text())
    assert (said["name"], said["models"][0]["name"]) == ("Mine", "GPT")
    assert server.url in {one.get("apiBase") for one in said["models"]}


def test_a_file_that_would_hide_another_is_not_made(apps: Apps, server: Server) -> None:
    (apps.home / ".continue").mkdir()
    (apps.home / ".continue/config.json").write_text("{}")
    done = apps.lf("launch", "continue")
    assert done.returncode == 1
    assert "config.json is what is read there" in done.stderr
    assert "apiBase" in done.stderr
    assert not (apps.home / ".continue/config.yaml").exists()


def test_what_cannot_be_changed_is_left_with_what_to_paste(apps: Apps, server: Server) -> None:
    apps.add("opencode")
    path = apps.home / ".config/opencode/opencode.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"provider": {')
    done = apps.lf("launch", "opencode")
    assert done.returncode == 1
    assert "is left as it is: it cannot be read" in done.stderr
    assert '"baseURL"' in done.stderr
    assert path.read_text() == '{"provider": {'
    assert not apps.record.exists()


@pytest.mark.parametrize(
    ("app", "name", "text"),
    [
        ("opencode", ".config/opencode/opencode.json", '{"mine": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        ("continue", ".continue/config.yaml", "mine: &mine\n  again: *mine\n"),
    ],
)
def test_settings_that_no_program_reads_to_their_end_are_left(
    apps: Apps, server: Server, app: str, name: str, text: str
) -> None:
    apps.add(app)
    path = apps.home / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = apps.lf("launch", app, "--no-start")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "is left as it is: what is in it is nested too deeply" in done.stderr
    assert path.read_text() == text


def test_a_record_of_changes_that_is_damaged_is_none(apps: Apps, home: Lf, server: Server) -> None:
    for text in ("[]", "[" * 100_000, '{"a": 1}'):
        (home.home / "launched.json").write_text(text)
        done = apps.lf("launch", "codex", "--restore")
        assert (done.returncode, "There is nothing to put back" in done.stderr) == (2, True), done.stderr


def test_a_dry_run_shows_all_and_does_nothing(apps: Apps, home: Lf) -> None:
    path = apps.home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text("a = 1\n")
    done = apps.lf("launch", "codex", "--model", "greeter", "--dry-run")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert shown[:2] == [f"--- {path}", f"+++ {path}"]
    assert '+base_url = "http://127.0.0.1:12060/v1"' in shown
    assert shlex.split(shown[-1]) == ["codex", "-c", 'model_provider="localfirst"', "-m", "greeter"]
    assert path.read_text() == "a = 1\n"
    assert json.loads(home("ps", "--json").stdout)["server"] is None


def test_what_its_user_changed_since_is_not_put_back_over(apps: Apps, server: Server) -> None:
    path = apps.home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text("a = 1\n")
    assert apps.lf("launch", "codex", "--no-start", "--model", "greeter").returncode == 0
    with path.open("a") as file:
        file.write("[mine]\nb = 2\n")
    done = apps.lf("launch", "codex", "--restore")
    assert done.returncode == 2
    assert "was changed since" in done.stderr
    (copy,) = apps.find_copies(path)
    assert str(copy) in done.stderr
    assert path.read_text().endswith("[mine]\nb = 2\n")


def test_what_is_not_there_is_told_with_how_to_get_it(apps: Apps) -> None:
    done = apps.lf("launch", "codex")
    assert done.returncode == 1
    assert "no `codex` is on the PATH" in done.stderr
    assert "npm install -g @openai/codex" in done.stderr
    assert list(apps.home.iterdir()) == []
    done = apps.lf("launch", "kodex")
    assert done.returncode == 3
    assert "codex" in done.stderr
    done = apps.lf("launch", "claude", "--restore")
    assert done.returncode == 2
    done = apps.lf("launch", "claude", "--json")
    assert done.returncode == 2


def test_what_does_not_answer_is_no_model_to_begin_with(apps: Apps, server: Server) -> None:
    apps.add("claude")
    done = apps.lf("launch", "claude", "--model", "embedder")
    assert (done.returncode, apps.record.exists()) == (2, False)
    assert "error: `embedder` does not answer" in done.stderr


def test_those_that_are_known_are_listed(apps: Apps) -> None:
    apps.add("aider")
    listed = {one["app"]: one for one in json.loads(apps.lf("launch", "--json").stdout)["apps"]}
    assert {name for name, one in listed.items() if one["installed"]} == {"aider"}
    assert all(one["source"].startswith("https://") for one in listed.values())
    assert "aider       aider        yes   variables of its own run" in apps.lf("launch").stdout
    for option in (("--dry-run",), ("--no-start",), ("--restore",), ("--model", "greeter")):
        done = apps.lf("launch", *option)
        assert (done.returncode, done.stdout) == (2, "")
        assert "No program is named" in done.stderr


def test_a_server_is_started_where_none_runs_as_it_was_before(apps: Apps, home: Lf) -> None:
    apps.add("claude")
    assert home("server", "start", "--port", "0").returncode == 0
    assert home("server", "stop").returncode == 0
    try:
        done = apps.lf("launch", "claude", "--model", "greeter")
        assert done.returncode == LEFT, done.stderr
        assert "A server was started at http://127.0.0.1:" in done.stderr
        assert "greeter has a context of 1,024 tokens at the most, in which Claude Code soon has no room" in done.stderr
        assert json.loads(apps.record.read_text())["answer"] == REPLY
        assert json.loads(home("server", "status", "--json").stdout)["servers"]
        advice, ask = "`lf server restart --ctx 32768`", ("launch", "claude", "--model", "endless", "--dry-run")
        assert advice in apps.lf(*ask).stderr
        for words in (("--ctx", "32k"), ("--ctx=32768",)):
            assert home("server", "restart", "--port", "0", *words).returncode == 0
            assert advice not in apps.lf(*ask).stderr
    finally:
        home("server", "stop")


@pytest.mark.parametrize(
    ("words", "tokens"),
    [((), 8192), (("--ctx", "1024"), 1024), (("--ctx", "32k"), 32768), (("--ctx=16k",), 16384)],
    ids=["nothing is said", "tokens", "thousands", "one word"],
)
def test_a_program_is_told_the_context_that_the_server_was_started_with(
    apps: Apps, home: Lf, words: tuple[str, ...], tokens: int
) -> None:
    assert home("server", "start", "--port", "0", *words).returncode == 0
    try:
        done = apps.lf("launch", "crush", "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        assert ("soon has no room" in done.stderr) == (tokens < 32768)
        written = [line for line in json.loads(done.stdout)["file"]["diff"].splitlines() if "context_window" in line]
        assert max(int(line.split(":")[1].strip(" ,")) for line in written) == tokens
    finally:
        home("server", "stop")


def test_a_file_that_cannot_be_made_is_told(apps: Apps, server: Server) -> None:
    (apps.home / ".codex").write_text("in the way")
    done = apps.lf("launch", "codex", "--no-start", "--model", "greeter")
    assert done.returncode == 1
    assert "config.toml cannot be changed" in done.stderr
    assert (apps.home / ".codex").read_text() == "in the way"
