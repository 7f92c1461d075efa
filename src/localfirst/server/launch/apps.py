"""The programs that can be told to ask the server, each with what it reads. `source`: where its maker says so.

What a program reads from its environment or its arguments is given to it when it is started, and nothing on the disk
changes. What it only reads from a file is put there, under a name of our own, beside what is there: no default of
theirs is changed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from localfirst.server.launch.change import Put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "localfirst"
"""What the server is called in other programs' settings."""
KEY = "LOCALFIRST_API_KEY"
"""The variable from which those take its key, where it has one: no file of theirs has it."""
NO_KEY = "unused"
"""Programs want a key, also for a server that asks for none."""
AGENT_TOKENS = 32768
"""The context of a server that is started for a coding agent: those begin with long instructions of their own."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class Offered(NamedTuple):
    """A model that the server has."""

    name: str
    context_tokens: int


class Told(NamedTuple):
    """What a program is told."""

    url: str
    """Of OpenAI's dialect, with `/v1`."""
    key: str | None
    model: str
    """The one to begin with."""
    models: tuple[Offered, ...]

    @property
    def root(self) -> str:
        """The address without a dialect."""
        return self.url.removesuffix("/v1")

    @property
    def shown_key(self) -> str:
        """What is shown as a key, in any case."""
        return self.key or NO_KEY


class Settings(NamedTuple):
    """A file of a program's settings."""

    form: str
    """As in `change.FORMS`."""
    find: Callable[[], Path]
    make: Callable[[Told], tuple[Put, ...]]
    rival: str | None = None
    """A file beside it that the program would no longer read once this one is there."""


class App(NamedTuple):
    """A program."""

    title: str
    program: str | None
    """What is started; `None`: it runs within another program, by itself."""
    get: str
    """How to get it."""
    source: str
    variables: Callable[[Told], Mapping[str, str]] = lambda _: NOTHING
    hidden: tuple[str, ...] = ()
    """Variables that it must not see: it would rather use them."""
    words: Callable[[Told], tuple[str, ...]] = lambda _: ()
    """Before those of the user."""
    alone: Callable[[Told], tuple[str, ...]] | None = None
    """Instead, where the user says none."""
    settings: Settings | None = None
    remark: str | None = None
    """What is left to its user."""
    keyed: str | None = None
    """What is left to its user where the server wants a key, which is put into no file."""
    agent: bool = False
    """Whether it works by itself, and begins with much text of its own."""
    begins: bool = True
    """Whether it is told which model to begin with."""


def _keyed(told: Told) -> Mapping[str, str]:
    return {KEY: told.key} if told.key else NOTHING


def _home(*parts: str) -> Path:
    return Path.home().joinpath(*parts)


def _config(*parts: str) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home(".config"), *parts)


def _find_codex() -> Path:
    return Path(os.environ.get("CODEX_HOME") or _home(".codex"), "config.toml")


def _find_opencode() -> Path:
    """Either name is read, from the same folder on every system."""
    folder = _config("opencode")
    commented = folder / "opencode.jsonc"
    return commented if commented.exists() else folder / "opencode.json"


def _find_crush() -> Path:
    windows = Path(os.environ.get("LOCALAPPDATA") or _home("AppData", "Local"), "crush")
    folder = windows if sys.platform == "win32" else _config("crush")
    return Path(os.environ.get("CRUSH_GLOBAL_CONFIG") or folder, "crush.json")


def _find_zed() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or _home("AppData", "Roaming"), "Zed", "settings.json")
    return (_home(".config") if sys.platform == "darwin" else _config()) / "zed" / "settings.json"


def _find_llm() -> Path:
    """As click's `get_app_dir` has it: https://click.palletsprojects.com/en/stable/api/#click.get_app_dir."""
    name = "io.datasette.llm"
    folders = {
        "win32": Path(os.environ.get("APPDATA") or _home("AppData", "Roaming"), name),
        "darwin": _home("Library", "Application Support", name),
    }
    own = os.environ.get("LLM_USER_PATH")
    return Path(own or folders.get(sys.platform) or _config(name), "extra-openai-models.yaml")


def _make_codex(told: Told) -> tuple[Put, ...]:
    keyed = {"env_key": KEY} if told.key else {}
    return (Put(("model_providers", NAME), {"name": NAME, "base_url": told.url, "wire_api": "responses", **keyed}),)


def _make_opencode(told: Told) -> tuple[Put, ...]:
    keyed = {"apiKey": f"{{env:{KEY}}}"} if told.key else {}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": NAME,
        "options": {"baseURL": told.url, **keyed},
        "models": {one.name: {"name": one.name} for one in told.models},
    }
    return Put(("$schema",), "https://opencode.ai/config.json", only_new=True), Put(("provider", NAME), provider)


def _make_crush(told: Told) -> tuple[Put, ...]:
    models = [
        {
            "id": one.name,
            "name": one.name,
            "context_window": one.context_tokens,
            "default_max_tokens": one.context_tokens // 4,
        }
        for one in told.models
    ]
    keyed = f"${KEY}" if told.key else NO_KEY
    provider = {"type": "openai-compat", "name": NAME, "base_url": told.url, "api_key": keyed, "models": models}
    return Put(("$schema",), "https://charm.land/crush.json", only_new=True), Put(("providers", NAME), provider)


def _make_zed(told: Told) -> tuple[Put, ...]:
    models = [{"name": one.name, "display_name": one.name, "max_tokens": one.context_tokens} for one in told.models]
    return (Put(("language_models", "openai_compatible", NAME), {"api_url": told.url, "available_models": models}),)


def _make_continue(told: Told) -> tuple[Put, ...]:
    head = (("name", "Main Config"), ("version", "1.0.0"), ("schema", "v1"))
    items = [
        {
            "name": f"{one.name} ({NAME})",
            "provider": "openai",
            "model": one.name,
            "apiBase": told.url,
            "apiKey": f"${{{{ secrets.{KEY} }}}}" if told.key else NO_KEY,
        }
        for one in told.models
    ]
    return (
        *(Put((key,), value, only_new=True) for key, value in head),
        *(Put(("models",), item, by="name") for item in items),
    )


def _make_llm(told: Told) -> tuple[Put, ...]:
    keyed = {"api_key_name": NAME} if told.key else {}
    items = [
        {"model_id": f"{NAME}/{one.name}", "model_name": one.name, "api_base": told.url, **keyed} for one in told.models
    ]
    return tuple(Put((), item, by="model_id") for item in items)


APPS: Mapping[str, App] = MappingProxyType(
    {
        "claude": App(
            title="Claude Code",
            program="claude",
            get="https://code.claude.com/docs/en/setup",
            source="https://code.claude.com/docs/en/llm-gateway",
            variables=lambda told: {
                "ANTHROPIC_BASE_URL": told.root,
                "ANTHROPIC_AUTH_TOKEN": told.shown_key,
                "ANTHROPIC_MODEL": told.model,
                "ANTHROPIC_DEFAULT_OPUS_MODEL": told.model,
                "ANTHROPIC_DEFAULT_SONNET_MODEL": told.model,
                "ANTHROPIC_DEFAULT_HAIKU_MODEL": told.model,
            },
            hidden=("ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
            remark="An `env` block in ~/.claude/settings.json overrides what it is told here",
            agent=True,
        ),
        "codex": App(
            title="Codex CLI",
            program="codex",
            get="npm install -g @openai/codex",
            source="https://developers.openai.com/codex/config-advanced",
            variables=_keyed,
            words=lambda told: ("-c", f"model_provider={json.dumps(NAME)}", "-m", told.model),
            settings=Settings("toml", _find_codex, _make_codex),
            agent=True,
        ),
        "opencode": App(
            title="opencode",
            program="opencode",
            get="npm install -g opencode-ai",
            source="https://opencode.ai/docs/providers/",
            variables=_keyed,
            words=lambda told: ("--model", f"{NAME}/{told.model}"),
            settings=Settings("json", _find_opencode, _make_opencode),
            agent=True,
        ),
        "crush": App(
            title="Crush",
            begins=False,
            program="crush",
            get="npm install -g @charmland/crush",
            source="https://github.com/charmbracelet/crush#custom-providers",
            variables=_keyed,
            settings=Settings("json", _find_crush, _make_crush),
            remark=f"Choose a model of {NAME} in Crush's own list",
            agent=True,
        ),
        "goose": App(
            title="goose",
            program="goose",
            get="https://block.github.io/goose/docs/getting-started/installation",
            source="https://block.github.io/goose/docs/guides/environment-variables",
            variables=lambda told: {
                "GOOSE_PROVIDER": "openai",
                "GOOSE_MODEL": told.model,
                "OPENAI_HOST": told.root,
                "OPENAI_BASE_PATH": "v1/chat/completions",
                "OPENAI_API_KEY": told.shown_key,
            },
            alone=lambda _: ("session",),
            agent=True,
        ),
        "aider": App(
            title="aider",
            program="aider",
            get="python -m pip install aider-install && aider-install",
            source="https://aider.chat/docs/llms/openai-compat.html",
            variables=lambda told: {"OPENAI_API_BASE": told.url, "OPENAI_API_KEY": told.shown_key},
            words=lambda told: ("--model", f"openai/{told.model}"),
            agent=True,
        ),
        "llm": App(
            title="LLM",
            program="llm",
            get="pipx install llm",
            source="https://llm.datasette.io/en/stable/other-models.html",
            words=lambda told: ("-m", f"{NAME}/{told.model}"),
            alone=lambda told: ("chat", "-m", f"{NAME}/{told.model}"),
            settings=Settings("yaml", _find_llm, _make_llm),
            keyed=f"It keeps the server's key itself: `llm keys set {NAME}`",
        ),
        "open-webui": App(
            title="Open WebUI",
            begins=False,
            program="open-webui",
            get="pip install open-webui",
            source="https://docs.openwebui.com/getting-started/env-configuration/",
            variables=lambda told: {"OPENAI_API_BASE_URL": told.url, "OPENAI_API_KEY": told.shown_key},
            alone=lambda _: ("serve",),
            remark="One that ran before keeps the connections it had: add this address in its settings",
        ),
        "zed": App(
            title="Zed",
            begins=False,
            program="zed",
            get="https://zed.dev/download",
            source="https://zed.dev/docs/ai/llm-providers",
            variables=lambda told: {KEY: told.shown_key},
            settings=Settings("json", _find_zed, _make_zed),
            remark=f"Choose a model of {NAME} in the Agent Panel",
        ),
        "continue": App(
            title="Continue",
            begins=False,
            program=None,
            get="https://docs.continue.dev/ide-extensions/install",
            source="https://docs.continue.dev/reference",
            settings=Settings("yaml", lambda: _home(".continue", "config.yaml"), _make_continue, rival="config.json"),
            remark="Open your editor: Continue reads it there",
            keyed=f"Put the server's key into ~/.continue/.env: {KEY}=...",
        ),
    }
)
