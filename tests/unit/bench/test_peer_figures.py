"""The comparison with peers: figures, ratios and tables, and what programs that measure themselves print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.peer import figures, models, table, talk
from benchmarks.peer.figures import Contender, Group, Heard, Sample

LITERT = """\
Benchmarking model: m (/models/m/model.litertlm)
Backend                    : cpu
Number of tokens in prefill: 64
Number of tokens in decode : 16
Max number of tokens       : 512
Cache                      : memory
Speculative decoding       : auto
Running warmup..
Running iteration 1 of 1..
----- Results -----
Prefill speed:        305.41 tokens/s
Decode speed:         36.62 tokens/s
Init time:            1.3519 s
Time to first token:  0.2369 s
"""
"""`litert-lm benchmark` 0.18.1, recorded."""
LLAMA_BENCH = json.dumps(
    [
        {"build_number": 8191, "n_prompt": 512, "n_gen": 0, "avg_ts": 7100.5, "stddev_ts": 0.0},
        {"build_number": 8191, "n_prompt": 0, "n_gen": 128, "avg_ts": 131.25, "stddev_ts": 0.0},
    ]
)
"""The keys that `tools/llama-bench/README.md` of ggml-org/llama.cpp shows, which matter here."""


def make_contender(name: str, seconds: tuple[float, ...], against: str | None = None) -> Contender:
    """One whose first token takes so long in each round, and that tells nothing else."""
    return Contender(name, "1.0", against, tuple(Sample(one, None, 1 / one, None) for one in seconds))


def test_a_turn_counts_only_the_ends_of_answers() -> None:
    sample = figures.make_sample(512, 65, Heard(0.1, 1), Heard(2.0, 1), Heard(0.9, 65))
    assert sample == Sample(first_s=0.1, prefill_tps=256.0, decode_tps=80.0, round_s=3.0)


@pytest.mark.parametrize(("tokens", "decode_tps"), [(33, 40.0), (None, None)], ids=["counted", "not counted"])
def test_an_answer_that_ended_early_makes_no_whole_round(tokens: int | None, decode_tps: float | None) -> None:
    sample = figures.make_sample(512, 65, Heard(0.1, 1), Heard(2.0, 1), Heard(0.9, tokens))
    assert sample.round_s is None
    assert sample.decode_tps == pytest.approx(decode_tps) if decode_tps else sample.decode_tps is None


def test_ratios_are_of_rounds_and_say_how_many_times_as_good_lf_is() -> None:
    ours, theirs = make_contender("lf", (0.1, 0.2, 0.4)), make_contender("peer", (0.2, 0.4, 0.8))
    for figure in ("first_s", "decode_tps"):
        assert figures.find_ratio(ours, theirs, figure) == figures.Ratio(pytest.approx(2.0), clear=True)
    assert figures.find_ratio(ours, theirs, "prefill_tps") is None


def test_a_ratio_that_a_quarter_of_the_rounds_contradicts_is_not_clear() -> None:
    ours, theirs = make_contender("lf", (0.1, 0.1, 0.1, 0.3)), make_contender("peer", (0.2, 0.2, 0.2, 0.2), "lf")
    ratio = figures.find_ratio(ours, theirs, "first_s")
    assert ratio is not None
    assert not ratio.clear
    rows = figures.make_rows(Group("m", "gguf", 512, 64, (ours, theirs)))
    assert rows[0] == ["lf", "100.0 ms", "-", "10.0", "-", ""]
    assert rows[1] == ["peer", "200.0 ms (~x2.00)", "-", "5.0 (~x2.00)", "-", "lf"]


def test_a_figure_that_half_of_the_rounds_lack_is_unknown() -> None:
    some = Contender("lf", "", None, (Sample(0.1, None, None, None), Sample(None, None, None, None)))
    assert figures.find_median(some, "first_s") is None


def test_a_table_names_who_is_not_in_it() -> None:
    group = Group("m", "gguf", 512, 64, (make_contender("lf", (0.1,)),), (("ollama", "not installed"),))
    lines = figures.to_markdown(group).splitlines()
    assert lines[0] == "**m, gguf: 512 tokens read, 64 generated**"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert lines[-1] == "- ollama: not installed"
    (told,) = figures.to_json([group])
    assert json.loads(json.dumps(told))["missing"] == {"ollama": "not installed"}


def test_programs_that_measure_themselves() -> None:
    assert figures.parse_litert_benchmark(LITERT) == Sample(None, 305.41, 36.62, None)
    assert figures.parse_llama_bench(LLAMA_BENCH) == Sample(None, 7100.5, 131.25, None)


@pytest.mark.parametrize("text", ["", "An error occurred during benchmarking\n"], ids=["nothing", "an error"])
def test_figures_that_are_missing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.strip() or "nothing"):
        figures.parse_litert_benchmark(text)


@pytest.mark.parametrize("peer", table.PEERS, ids=lambda peer: peer.name)
def test_every_word_of_a_row_can_be_filled_in(peer: table.Peer, tmp_path: Path) -> None:
    values = dict.fromkeys(("model", "here", "folder", "port", "threads", "context"), "7")
    fill = talk.Fill(values, {})
    for words in (peer.command, *peer.before, *peer.after):
        assert not any("$" in word for word in fill.command(words, prompt=512, tokens=64))
    assert not any("$" in value for value in fill.environment(peer).values())
    assert (peer.parse is not None) == (peer.way == "program")


def test_keys_are_pairwise_different_and_fit_a_command_line() -> None:
    keys = [table.make_key(peer.name) for peer in table.PEERS]
    assert len(set(keys)) == len(keys)
    assert {"llama-cpp-python", "xllamacpp", "foundry", "litert-lm", "lf-serve"} <= set(keys)
    assert not any(set(key) & set(" ='") for key in keys)


def test_a_program_that_is_not_there_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ollama = next(peer for peer in table.PEERS if peer.name == "ollama")
    assert table.find(ollama, {}) == table.Found(None, "not installed")


def test_formats_are_told_from_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").touch()
    assert models.find_format(tmp_path) == "onnx"
    assert [models.find_format(Path(name)) for name in ("m.GGUF", "m.litertlm", "m.bin")] == ["gguf", "litert", None]
    for name in models.MAKERS:
        assert models.find_format(models.find_starter(name, tmp_path)) == name
