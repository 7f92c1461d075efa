"""How each server program is started, word by word, and what it is asked: the programs cannot all be had here."""

from __future__ import annotations

import pytest

from localfirst.backends.external import table
from localfirst.conversation import Sampling
from localfirst.errors import UsageError
from localfirst.runtimes.programs import PROGRAMS
from localfirst.types import Parallel

START = table.Start(
    program=("/usr/bin/prog",),
    main="/models/m",
    port=4242,
    key="s3cret",
    context_tokens=8192,
    threads=6,
    cache="q8_0",
    parallel=Parallel(4, 2),
    folder="/private",
)
LLAMA = (
    "--host 127.0.0.1 --port 4242 --ctx-size 8192 --parallel 1 --n-gpu-layers 0 --threads 6 --threads-batch 6 "
    "--batch-size 128 --ubatch-size 128 --cache-type-k q8_0 --cache-type-v q8_0 --no-warmup --chat-template chatml "
)
COMMANDS = {
    "llamafile": f"/usr/bin/prog {LLAMA}--model /models/m --server --gpu disable",
    "llama-server": f"/usr/bin/prog {LLAMA}--model /models/m",
    "vllm": "/usr/bin/prog serve /models/m --host 127.0.0.1 --port 4242 --served-model-name local --max-model-len 8192 "
    "--generation-config vllm --tensor-parallel-size 4 --pipeline-parallel-size 2",
    "sglang": "/usr/bin/prog serve --config /private/sglang.yaml --model-path /models/m --host 127.0.0.1 --port 4242 "
    "--served-model-name local --context-length 8192 --sampling-defaults openai --tp-size 4 --pp-size 2",
    "tensorrt-llm": "/usr/bin/prog /models/m --host 127.0.0.1 --port 4242 --served_model_name local "
    "--max_seq_len 8192 --tp_size 4 --pp_size 2",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_server_is_started_with_these_words(name: str) -> None:
    assert table.SERVERS[name].command(START) == COMMANDS[name].split()


EMBEDDING = {
    "llamafile": ("mean", "--embeddings --pooling mean --model /models/m --server --gpu disable"),
    "llama-server": ("last", "--embeddings --pooling last --model /models/m"),
    "vllm": ("cls", '--runner pooling --convert embed --pooler-config {"pooling_type":~"CLS"}'),
    "sglang": ("last", "--is-embedding"),
}


@pytest.mark.parametrize("name", EMBEDDING)
def test_a_server_that_is_to_embed_is_started_with_these_words_more(name: str) -> None:
    pooling, words = EMBEDDING[name]
    told = table.SERVERS[name].command(START._replace(pooling=pooling))
    assert told[-len(words.split()) :] == [word.replace("~", " ") for word in words.split()]


@pytest.mark.parametrize(("pooling", "tokens"), [("last", "128"), ("mean", "8192")])
def test_llama_cpp_reads_a_text_in_one_piece_where_all_of_it_counts(pooling: str, tokens: str) -> None:
    told = table.LLAMA_SERVER.command(START._replace(pooling=pooling))
    assert [told[told.index(name) + 1] for name in ("--batch-size", "--ubatch-size")] == [tokens, tokens]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_key_is_nowhere_where_other_users_can_read_it_and_nothing_is_fetched_or_reported(name: str) -> None:
    server = table.SERVERS[name]
    variables = server.environment(START)
    assert "s3cret" not in " ".join(server.command(START))
    assert (variables["HF_HUB_OFFLINE"], variables["TRANSFORMERS_OFFLINE"], variables["DO_NOT_TRACK"]) == (
        "1",
        "1",
        "1",
    )
    told = [*variables.values(), *server.files(START).values()]
    assert any("s3cret" in text for text in told) == (name != "tensorrt-llm")


@pytest.mark.parametrize("name", ["llamafile", "llama-server"])
def test_llama_cpps_server_of_any_age_shows_no_pages_and_stays_offline(name: str) -> None:
    variables = table.SERVERS[name].environment(START)
    assert (variables["LLAMA_ARG_UI"], variables["LLAMA_ARG_NO_WEBUI"]) == ("0", "1")
    assert (variables["LLAMA_ARG_OFFLINE"], variables["LLAMA_OFFLINE"]) == ("1", "1")


def test_who_shares_the_machine_is_told_of_servers_that_others_can_ask() -> None:
    assert {one.name for one in table.SERVERS.values() if one.warning} == {"vllm", "tensorrt-llm"}


def test_ray_is_vllms_and_goes_by_its_own_variable() -> None:
    start = START._replace(parallel=Parallel(8, 2, "10.0.0.1:6379"))
    assert table.VLLM.command(start)[-2:] == ["--distributed-executor-backend", "ray"]
    assert table.VLLM.environment(start)["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert "RAY_ADDRESS" not in table.VLLM.environment(START)


@pytest.mark.parametrize(
    ("name", "parallel", "message"),
    [
        ("llama-server", Parallel(2), "llama.cpp has no `--tensor-parallel`"),
        ("llamafile", Parallel(1, 2), "llamafile has no `--pipeline-parallel`"),
        ("sglang", Parallel(2, 1, "here"), "SGLang has no `--ray`"),
    ],
)
def test_an_engine_that_cannot_spread_a_model_so_is_named(name: str, parallel: Parallel, message: str) -> None:
    server = table.SERVERS[name]
    with pytest.raises(UsageError) as caught:
        table.refuse_spreading(server.engine, server.spreads, parallel)
    assert caught.value.message == message
    assert "vLLM" in (caught.value.hint or "")


def test_what_was_not_asked_for_is_not_said_to_a_server_that_may_not_know_it() -> None:
    assert table.VLLM.describe(Sampling(0.5)) == {"temperature": 0.5, "top_p": 1.0, **table.COUNTED_ALWAYS}
    assert table.REMOTE.describe(Sampling(0.5)) == {"temperature": 0.5, "top_p": 1.0, **table.COUNTED}
    every = table.VLLM.describe(Sampling(0.5, 40, 0.9, 0.05, 1.1, 2**40))
    assert (every["top_k"], every["min_p"], every["repetition_penalty"]) == (40, 0.05, 1.1)
    assert 0 <= every["seed"] < 2**32
    bent = table.VLLM.describe(
        Sampling(presence_penalty=0.5, frequency_penalty=-2.0, logit_bias=((7, -1e4), (8, 1e4), (9, 0.5)))
    )
    assert (bent["presence_penalty"], bent["frequency_penalty"]) == (0.5, -2.0)
    assert bent["logit_bias"] == {"7": -100, "8": 100, "9": 0.5}


def test_every_program_has_a_server_of_its_name() -> None:
    assert {program.name for program in PROGRAMS} | {"remote"} == set(table.SERVERS)
