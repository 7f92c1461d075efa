"""The command `llm` with its file for servers such as ours, against a real `lf serve` with real engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.fixtures.serving import AGENT, REPLY, Server

Run = Callable[..., subprocess.CompletedProcess[str]]

MODELS = (
    {"model_id": "lf-greeter", "model_name": "greeter"},
    {"model_id": "lf-greeter-text", "model_name": "greeter", "completion": True},
    {"model_id": "lf-greeter-responses", "model_name": "greeter", "responses": True},
    {"model_id": "lf-thinker", "model_name": "thinker"},
    {"model_id": "lf-agent", "model_name": "agent", "supports_schema": True, "supports_tools": True},
    {"model_id": "lf-starter", "model_name": "starter"},
    {"model_id": "lf-nobody", "model_name": "nobody"},
)


@pytest.fixture(scope="module")
def llm(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`llm`, as its users run it, with `extra-openai-models.yaml` in its folder."""
    folder: Path = tmp_path_factory.mktemp("llm")
    models = [model | {"api_base": server.url} for model in MODELS]
    (folder / "extra-openai-models.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LLM_", "OPENAI_"))}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llm", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=kept | {"LLM_USER_PATH": str(folder), "PYTHONIOENCODING": "utf-8"},
            timeout=60,
        )

    return run


def answer(run: Run, *words: str) -> str:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("model", ["lf-greeter", "lf-greeter-text", "lf-greeter-responses"])
def test_a_prompt_is_answered(llm: Run, model: str) -> None:
    assert answer(llm, "-m", model, "hi") == REPLY


def test_an_answer_is_whole_where_it_may_not_be_streamed(llm: Run) -> None:
    assert answer(llm, "-m", "lf-greeter", "hi", "--no-stream") == REPLY


def test_the_starter_answers_what_it_knows(llm: Run) -> None:
    said = answer(llm, "-m", "lf-starter", "-o", "temperature", "0", "What is QAT?")
    assert said.startswith("QAT is quantization-aware training")


def test_a_conversation_goes_on_and_tokens_are_counted(llm: Run) -> None:
    answer(llm, "-m", "lf-greeter", "-s", "Be brief.", "hi")
    more = llm("-m", "lf-greeter", "-c", "-u", "and now?")
    assert (more.returncode, more.stdout.strip()) == (0, REPLY)
    first, second = json.loads(answer(llm, "logs", "-n", "2", "--json"))
    assert first["conversation_id"] == second["conversation_id"]
    assert second["input_tokens"] > first["input_tokens"] + first["output_tokens"] > 2
    assert f"{second['input_tokens']:,} input" in more.stderr


def test_an_answer_is_held_to_a_schema(llm: Run) -> None:
    said = json.loads(answer(llm, "-m", "lf-agent", "--schema", "name, age int", "Invent a dog"))
    assert {name: type(value) for name, value in said.items()} == {"name": str, "age": int}


def test_a_tool_is_called_and_its_result_read(llm: Run) -> None:
    functions = "def get_weather(location: str) -> str:\n    return f'{location}: sunny'\n"
    done = llm("-m", "lf-agent", "--functions", functions, "--td", "What is the weather in San Francisco?")
    assert (done.returncode, done.stdout.strip()) == (0, AGENT)
    assert "get_weather({'location': 'San Francisco'})" in done.stderr
    assert "San Francisco: sunny" in done.stderr


def test_thinking_is_told_apart(llm: Run) -> None:
    done = llm("-m", "lf-thinker", "hi")
    assert (done.returncode, done.stdout.strip()) == (0, "Blue.")


def test_an_error_is_shown_in_the_server_s_words(llm: Run) -> None:
    done = llm("-m", "lf-nobody", "hi")
    assert done.returncode == 1
    assert "No model named `nobody`" in done.stderr
