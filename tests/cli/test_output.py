import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Lf

from localfirst.cli import output
from localfirst.cli.answer import AnswerPrinter
from localfirst.cli.screen import Screen, wrap
from localfirst.cli.views.store import render_removal
from localfirst.conversation import Answer, TextDelta, Timings, Usage
from localfirst.errors import EngineError, LfError, NoFitError, UsageError
from localfirst.services.files import Removal
from localfirst.store.revisions import History
from localfirst.types import (
    Architecture,
    Cpu,
    Device,
    InstalledFile,
    InstalledModel,
    Machine,
    Memory,
    Model,
    Need,
    Plan,
    Resolution,
    Runtime,
    Speed,
    Variant,
)

GB = 10**9
LLAMA = Runtime("llama-cpu", "xllamacpp", "llama.cpp", "2026.10", ("gguf",), "cpu", ("cpu",), "importable", python="/p")
ONNX = Runtime(
    "onnx-cpu", "onnx", "onnxruntime-genai", "0.18.0", ("onnx",), "cpu", ("cpu",), "installable",
    download_bytes=45_000_000, installed_bytes=180_000_000,
)  # fmt: skip
MLX = Runtime(
    "mlx-metal",
    "mlx",
    "MLX",
    "0.32",
    ("mlx",),
    "gpu",
    ("metal",),
    "unavailable",
    reason="needs a Mac with Apple silicon",
)
CUDA = Runtime(
    "onnx-cuda", "onnx", "onnxruntime-genai", "0.18.0", ("onnx",), "gpu", ("cuda",), "installed", python="/c"
)


def variant(name, form="gguf", quantization="Q4_K_M", tier="vendor", size_bytes=2_490_000_000, **more):
    facts = {"origin": "vendor-ptq", "host": "huggingface", "repo": "microsoft/Phi-4-mini-instruct-onnx"} | more
    return Variant(
        name=name, format=form, quantization=quantization, tier=tier, size_bytes=size_bytes, revision=None, files=(),
        devices=("cpu",), confidence="verified", source="a page", **({"gated": False} | facts),
    )  # fmt: skip


def model(name, parameters, *variants, **more):
    facts = {"title": name, "vendor": "Microsoft", "license": "mit", "license_url": None, "aliases": ()} | more
    return Model(
        name=name, parameters=parameters, active_parameters=None, task="chat", family="phi", size=None,
        architecture=Architecture(context_tokens=131072), variants=variants, **facts,
    )  # fmt: skip


def plan(of, build, runtime=LLAMA, *, need_gb=3.1, speed=(18.2, 25.4), **more):
    facts = {
        "verdict": "cpu",
        "placement": "cpu",
        "device_name": None,
        "free_bytes": 14_200_000_000,
        "installed": False,
        "reason": "published by the vendor; the next best is published by the community",
    } | more
    return Plan(
        model=of, variant=build, runtime=runtime, context_tokens=4096, speed=Speed(*speed),
        need=None if need_gb is None else Need(int(need_gb * GB), 0, 0, 0), **facts,
    )  # fmt: skip


GGUF_REPO = "bartowski/microsoft_Phi-4-mini-instruct-GGUF"
INT4 = variant("int4-cpu", "onnx", "int4 RTN b32, int8 head")
Q4 = variant("q4_k_m", tier="community", repo=GGUF_REPO)
Q8 = variant("q8_0", "gguf", "Q8_0", "community", 4_080_000_000, repo=GGUF_REPO)
PHI = model(
    "phi-4-mini", 3_840_000_000, INT4, Q4, Q8, title="Phi-4 mini instruct",
    aliases=("phi4-mini", "phi-4-mini-instruct"), license_url="https://opensource.org/licenses/MIT",
)  # fmt: skip
STARTER = model("starter", 1_200_000, variant("q4_0", "gguf", "Q4_0", size_bytes=3_200_000, host="builtin"))
BIG = model("llama-3.3-70b-instruct", 70_600_000_000, variant("q4_k_m", tier="community", size_bytes=42_500_000_000))
CHOSEN = plan(PHI, INT4, ONNX)
PLANS = (
    plan(
        model("qwen3-8b", 8_200_000_000),
        variant("int4-cuda", "onnx", "int4", size_bytes=5 * GB),
        CUDA,
        need_gb=6.4,
        verdict="gpu",
        speed=(92.1, 121.9),
        placement="gpu",
        device_name="NVIDIA GeForce RTX 4090",
        free_bytes=22_100_000_000,
    ),
    plan(STARTER, STARTER.variants[0], need_gb=0.02, speed=(None, None, 1840.2), installed=True),
    CHOSEN,
    plan(
        model("deepseek-r1-distill-qwen-1.5b", 1_780_000_000),
        variant("int4-cpu", "onnx", "int4 RTN", "runtime-vendor", 1_340_000_000),
        ONNX,
        need_gb=1.9,
        speed=(30.1, 44.0),
    ),
    plan(
        model("gemma-3-4b-it", 4_300_000_000),
        variant("q4_0", "gguf", "Q4_0", size_bytes=3_160_000_000, gated=True),
        need_gb=4.0,
        speed=(14.2, 14.3),
    ),
    plan(
        model("qwen3-14b", 14_800_000_000),
        variant("q4_k_m", size_bytes=9 * GB),
        need_gb=13.4,
        verdict="tight",
        speed=(3.12, 4.9),
        installed=True,
    ),
    plan(BIG, BIG.variants[0], need_gb=44.1, verdict="no", speed=(0.5, 0.9)),
    plan(
        model("mlx-only", None),
        variant("4bit", "mlx", "4bit", "platform", None),
        None,
        need_gb=None,
        verdict="no",
        speed=(None, None),
        free_bytes=None,
        reason="no runtime of this release loads it: mlx needs MLX on Apple silicon",
    ),
)
REJECTED = (
    plan(PHI, Q4, speed=(15.0, 20.0), reason="published by the community; the chosen one is published by the vendor"),
    plan(
        PHI, Q8, need_gb=15.1, verdict="no",
        reason="needs 15.1 GB of memory at a context of 4,096 tokens, 14.2 GB is free for it",
    ),
)  # fmt: skip
MACHINE = Machine(
    platform="linux",
    cpu=Cpu(
        "AMD EPYC 7R13", "x86_64", 2, 4, 2, ("avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512vl", "amx_int8")
    ),
    memory=Memory(16_400_000_000, 14_200_000_000, 8 * GB),
    devices=(
        Device("gpu", "nvidia", "NVIDIA GeForce RTX 4090", 24 * GB, 22_100_000_000, driver="550.54"),
        Device("npu", "intel", "AI Boost", usable=False, reason="its driver (intel_vpu) is not loaded"),
    ),
    container="docker",
    disk_free_bytes=120 * GB,
    warnings=("The driver of the GPU is older than CUDA 12 needs, so nothing will run on it until it is updated",),
)
INSTALLED = InstalledModel(
    name="phi-4-mini",
    variant="int4-cpu",
    format="onnx",
    quantization="int4",
    host="huggingface",
    repo="microsoft/Phi-4-mini-instruct-onnx",
    revision="0" * 40,
    root="/home/me/.local/share/localfirst/models/phi-4-mini",
    files=(InstalledFile("model.onnx", 2_400_000_000, "0" * 64), InstalledFile("vocab.json", 90_000_000, "1" * 64)),
    created="2026-11-24T00:00:00Z",
)
HISTORY = History((INSTALLED,), INSTALLED)
ANSWER = Answer("Hi", "hm", "stop", Usage(35, 12, 12), Timings(0.5, 0.08, 400.0, 21.43))


def draw(show, width=None, *, styles=False):
    screen = Screen(io.StringIO(), width, styles)
    show(screen)
    return screen.stream.getvalue()


SHOWN = {
    "models": lambda screen: output.print_models(PLANS, screen=screen),
    "machine": lambda screen: output.print_machine(MACHINE, screen=screen),
    "info": lambda screen: output.print_model_info(PHI, [CHOSEN, *REJECTED], [HISTORY], screen=screen),
    "explanation": lambda screen: output.print_explanation(Resolution(CHOSEN, REJECTED), screen=screen),
    "runtimes": lambda screen: output.print_runtimes((LLAMA, ONNX, MLX, CUDA), screen=screen),
}


@pytest.mark.parametrize("width", [80, 120, None], ids=["80", "120", "pipe"])
@pytest.mark.parametrize("name", SHOWN)
def test_results_look_exactly_like_this(name, width):
    expected = Path(__file__).parent / "screens" / f"{name}-{width or 'pipe'}.txt"
    assert draw(SHOWN[name], width) == expected.read_text("utf-8")


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("width", [72, 80, 100, 120])
def test_nothing_is_wider_than_the_terminal(name, width):
    assert max(map(len, draw(SHOWN[name], width).splitlines())) <= width


def test_a_build_of_which_nobody_knows_the_quantization_is_named_by_its_format_alone():
    known = PLANS[0]
    unknown = known._replace(variant=known.variant._replace(quantization="unknown"))
    drawn = draw(lambda screen: output.print_models([unknown], screen=screen), 120)
    assert "unknown" not in drawn


def test_what_nothing_here_can_use_is_not_only_not_installed():
    """Its remark, which says so, is the first column to go."""
    useless = ONNX._replace(reason="onnx-cpu needs a device: this machine has no such one")
    drawn = draw(lambda screen: output.print_runtimes((LLAMA, useless), screen=screen), 80)
    assert drawn.splitlines()[-1].endswith("no such device here")


@pytest.mark.parametrize("name", SHOWN)
def test_styles_add_nothing_but_styles(name):
    styled = draw(SHOWN[name], 100, styles=True)
    assert "\x1b[" in styled
    for code in ("0", "1", "2", "1;32", "1;33"):
        styled = styled.replace(f"\x1b[{code}m", "")
    assert styled == draw(SHOWN[name], 100)


EVIL = "x\x1b[2J\x1b]0;title\x07[red]y[/red]\r\n\x9b31mz"


EVIL_BUILD = variant(EVIL, quantization=EVIL, repo=EVIL)
EVIL_MODEL = model(EVIL, 1, EVIL_BUILD, title=EVIL, vendor=EVIL, license=EVIL, license_url=EVIL, aliases=(EVIL,))
EVIL_PLAN = plan(EVIL_MODEL, EVIL_BUILD, reason=EVIL, device_name=EVIL)
EVIL_MACHINE = Machine(
    platform=EVIL,
    cpu=Cpu(EVIL, EVIL, 1, 1, 1, (EVIL,)),
    memory=Memory(1, 1, 1),
    devices=(Device("gpu", EVIL, EVIL, driver=EVIL, reason=EVIL),),
    container=EVIL,
    warnings=(EVIL,),
)
FOREIGN = {
    "error": lambda screen: output.print_error(LfError(EVIL, detail=EVIL, hint=EVIL), screen=screen),
    "error-json": lambda screen: output.print_error(LfError(EVIL), json=True, screen=screen),
    "models": lambda screen: output.print_models([EVIL_PLAN], screen=screen),
    "refused": lambda screen: output.print_models([plan(PHI, Q4, verdict="no", reason=EVIL)], screen=screen),
    "explanation": lambda screen: output.print_explanation(Resolution(EVIL_PLAN, (EVIL_PLAN,)), screen=screen),
    "info": lambda screen: output.print_model_info(EVIL_MODEL, [EVIL_PLAN], [], screen=screen),
    "machine": lambda screen: output.print_machine(EVIL_MACHINE, screen=screen),
    "choice": lambda screen: output.print_choice(EVIL_PLAN, screen),
    "answer": lambda screen: AnswerPrinter(screen).write(TextDelta(EVIL)),
    "notice": lambda screen: output.print_notice(EVIL, screen),
}


@pytest.mark.parametrize("show", FOREIGN.values(), ids=FOREIGN)
def test_foreign_text_cannot_drive_the_terminal(show):
    shown = draw(show, 100)
    assert not [character for character in shown if character != "\n" and not character.isprintable()]
    assert "[red]y[/red]" in shown


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(LfError("It broke"), "error: It broke\n", id="message"),
        pytest.param(
            NoFitError("`x` does not fit", detail="q4: 3 GB\nq8: 5 GB", hint="Try `lf run y`"),
            "error: `x` does not fit\n  q4: 3 GB\n  q8: 5 GB\n\nhint: Try `lf run y`\n",
            id="all",
        ),
    ],
)
def test_an_error_says_what_the_evidence_and_what_to_type(error, text):
    assert draw(lambda screen: output.print_error(error, screen=screen)) == text


def test_an_error_under_json_is_one_line_on_stderr_and_stdout_stays_empty(capsys):
    output.print_error(NoFitError("No é", detail="a\nb"), json=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == '{"error": {"code": "no-fit", "message": "No \\u00e9", "detail": "a\\nb", "hint": null}}\n'


def test_no_color_takes_the_styles_away(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    output.print_error(LfError("It broke"))
    monkeypatch.setenv("NO_COLOR", "1")
    output.print_error(LfError("It broke"))
    import sys

    assert sys.stderr.getvalue() == "\x1b[1;31merror:\x1b[0m It broke\nerror: It broke\n"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        pytest.param(OSError(28, "No space left on device"), LfError, id="full"),
        pytest.param(BrokenPipeError(32, "Broken pipe"), BrokenPipeError, id="pipe"),
    ],
)
def test_output_that_cannot_be_written_is_an_error_and_a_reader_that_left_is_not_ours(error, raised):
    class Broken(io.StringIO):
        def flush(self):
            raise error

    with pytest.raises(raised) as caught:
        Screen(Broken()).write("x")
    if raised is LfError:
        assert (caught.value.message, caught.value.detail) == (
            "The output cannot be written",
            "No space left on device",
        )


PROBLEM = {"path": "model.onnx", "problem": "digest", "detail": "manifest: 00\nfile: 11"}


def test_short_results_are_one_line_each(capsys):
    imported = InstalledModel(
        "mine", "gguf", "gguf", None, "import", None, None, "/models", (InstalledFile("a.gguf", 5, "0"),), "2026"
    )
    output.print_pulled(INSTALLED)
    output.print_removed({"phi-4-mini": 2_490_000_000})
    output.print_installed(CUDA)
    unmended = {"repaired": False, "error": None}
    problems = (SimpleNamespace(**PROBLEM),)
    output.print_verified([SimpleNamespace(**unmended, model=INSTALLED, problems=(), remedy=None)])
    output.print_verified([SimpleNamespace(**unmended, model=imported, problems=problems, remedy="Put it back.")])
    assert capsys.readouterr().out == (
        "phi-4-mini@int4-cpu is ready: 2.49 GB in 2 files, verified\n"
        "phi-4-mini is removed: 2.49 GB freed\n"
        "onnx-cuda is ready: onnxruntime-genai 0.18.0\n"
        "ok   phi-4-mini@int4-cpu: 2.49 GB in 2 files\n"
        "BAD  mine: 5 B in 1 file\n     model.onnx: digest\n       manifest: 00\n       file: 11\n     Put it back.\n"
    )


def test_self_tests_show_what_ran_or_what_went_wrong(capsys):
    passed = SimpleNamespace(
        runtime=ONNX, engine_version="0.18.0", device="CPU", load_s=0.31, answer=ANSWER, error=None, build="commit 1"
    )
    error = EngineError("computes wrong answers", detail="asked: x\ngot: y")
    failed = SimpleNamespace(
        runtime=LLAMA, engine_version=None, device=None, load_s=None, answer=None, error=error, build=None
    )
    output.print_tests([passed, failed])
    output.print_tests([passed, failed], json=True)
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == [
        "ok    onnx-cpu: onnxruntime-genai 0.18.0 on CPU, loaded in 310 ms, 21.4 tokens/s",
        "FAIL  llama-cpu: computes wrong answers",
        "      asked: x",
        "      got: y",
    ]
    tests = json.loads(last)["tests"]
    assert (tests[0]["build"], tests[1]["error"]["code"]) == ("commit 1", "engine")


def test_lists_with_nothing_in_them_say_so_beside_the_result(capsys):
    output.print_models([])
    output.print_verified([])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "No models to show\nNo models on this disk\n"


def as_json(capsys, show):
    show()
    return json.loads(capsys.readouterr().out)


def test_the_json_of_a_plan_has_the_keys_that_programs_rely_on(capsys):
    assert as_json(capsys, lambda: output.print_models([CHOSEN], json=True)) == {
        "models": [
            {
                "name": "phi-4-mini",
                "variant": "int4-cpu",
                "format": "onnx",
                "quantization": "int4 RTN b32, int8 head",
                "origin": "vendor-ptq",
                "tier": "vendor",
                "vendor": "Microsoft",
                "license": "mit",
                "license_to_accept": False,
                "parameters": 3_840_000_000,
                "runtime": "onnx-cpu",
                "backend": "onnx",
                "device": "cpu",
                "device_name": None,
                "verdict": "cpu",
                "size_bytes": 2_490_000_000,
                "need_bytes": 3_100_000_000,
                "free_bytes": 14_200_000_000,
                "context_tokens": 4096,
                "kv_cache": "f16",
                "requests": 1,
                "draft": None,
                "decode_tps": {"low": 18.2, "high": 25.4, "measured": None, "corrected": False},
                "prefill_tps": {"low": None, "high": None, "measured": None},
                "gated": False,
                "state": "available",
                "revision": None,
                "reason": "published by the vendor; the next best is published by the community",
            }
        ]
    }


def test_the_json_of_a_machine_has_the_keys_that_programs_rely_on(capsys):
    shown = as_json(capsys, lambda: output.print_machine(MACHINE, json=True))
    assert shown["cpu"]["features"] == list(MACHINE.cpu.features)
    assert shown["memory"] == {
        "total_bytes": 16_400_000_000, "available_bytes": 14_200_000_000, "limit_bytes": 8 * GB,
        "bandwidth_bytes_per_s": None,
    }  # fmt: skip
    assert shown["devices"][1] == {
        "kind": "npu", "vendor": "intel", "name": "AI Boost", "memory_total_bytes": None, "memory_free_bytes": None,
        "unified": False, "usable": False, "reason": "its driver (intel_vpu) is not loaded", "driver": None,
        "compute_capability": None, "bandwidth_bytes_per_s": None,
    }  # fmt: skip
    assert (shown["container"], shown["wsl"], shown["warnings"]) == ("docker", False, list(MACHINE.warnings))


def test_the_json_of_an_explanation_has_the_choice_and_every_loser_with_its_reason(capsys):
    shown = as_json(capsys, lambda: output.print_explanation(Resolution(CHOSEN, REJECTED), json=True))
    assert (shown["model"], shown["chosen"]["reason"]) == ("phi-4-mini", CHOSEN.reason)
    assert [(one["variant"], one["runtime"], one["reason"]) for one in shown["rejected"]] == [
        (one.variant.name, one.runtime.name, one.reason) for one in REJECTED
    ]


def test_the_json_of_other_results_keeps_the_numbers(capsys):
    shown = as_json(capsys, lambda: output.print_model_info(PHI, [CHOSEN], [HISTORY], json=True))
    assert [one["size_bytes"] for one in shown["variants"]] == [2_490_000_000, 2_490_000_000, 4_080_000_000]
    assert shown["installed"][0]["size_bytes"] == 2_490_000_000
    runtimes = as_json(capsys, lambda: output.print_runtimes([ONNX], json=True))["runtimes"]
    assert (runtimes[0]["state"], runtimes[0]["download_bytes"]) == ("installable", 45_000_000)
    assert as_json(capsys, lambda: output.print_pulled(INSTALLED, json=True))["root"] == INSTALLED.root


def test_the_json_of_an_answer_has_the_keys_that_programs_rely_on(capsys):
    assert as_json(capsys, lambda: output.print_answer(CHOSEN, ANSWER)) == {
        "model": "phi-4-mini",
        "variant": "int4-cpu",
        "runtime": "onnx-cpu",
        "device": "cpu",
        "draft": None,
        "text": "Hi",
        "reasoning": "hm",
        "tool_calls": [],
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 35, "completion_tokens": 12, "cached_tokens": 12, "drafted_tokens": 0},
        "timings": {"load_s": 0.5, "first_token_s": 0.08, "prefill_tps": 400.0, "decode_tps": 21.43},
    }


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(
            ANSWER, "12 tokens, 21.4 tok/s, first token 80 ms, prompt 35 tokens (12 cached), stop\n", id="all"
        ),
        pytest.param(
            Answer("", "", "stop", Usage(1, 9, 0, 4), Timings()),
            "9 tokens (4 drafted), prompt 1 token, stop\n",
            id="drafted",
        ),
        pytest.param(
            Answer("", "", "cancelled", Usage(1, 0), Timings()), "0 tokens, prompt 1 token, cancelled\n", id="nothing"
        ),
    ],
)
def test_the_stats_of_an_answer_are_one_line(answer, text):
    assert draw(lambda screen: output.print_stats(answer, screen)) == text


THOUGHT = (TextDelta("let me", reasoning=True), TextDelta(" see", reasoning=True), TextDelta("Hi"), TextDelta("!"))


@pytest.mark.parametrize(
    ("deltas", "width", "text"),
    [
        pytest.param(THOUGHT, 80, "thinking\nlet me see\n\nHi!\n", id="terminal"),
        pytest.param(THOUGHT, None, "Hi!\n", id="pipe"),
        pytest.param(THOUGHT[:2], 80, "thinking\nlet me see\n", id="only-thinking"),
        pytest.param((TextDelta("Hi\n"),), 80, "Hi\n", id="own-line-end"),
        pytest.param((), 80, "", id="nothing"),
    ],
)
def test_an_answer_ends_its_line_and_thinking_is_for_terminals(deltas, width, text):
    def show(screen):
        printer = AnswerPrinter(screen)
        for delta in deltas:
            printer.write(delta)
        printer.finish()

    assert draw(show, width) == text


@given(st.lists(st.text(alphabet="a\x1b[]2J;\x07\x9b\r\n"), max_size=6))
def test_an_escape_sequence_cut_anywhere_stays_out(pieces):
    def show(screen):
        printer = AnswerPrinter(screen)
        for piece in pieces:
            printer.write(TextDelta(piece))

    assert not set(draw(show, 80)) & {"\x1b", "\x07", "\x9b", "\r"}


@pytest.mark.parametrize(
    ("prompt", "json_wanted", "message"),
    [
        pytest.param("", False, "There is no terminal to chat in, and no prompt was given", id="no-terminal"),
        pytest.param("", True, "`--json` answers one prompt, and no prompt was given", id="json"),
    ],
)
def test_a_chat_needs_a_terminal(prompt, json_wanted, message):
    with pytest.raises(UsageError) as caught:
        output.require_terminal_without(prompt, json=json_wanted)
    assert caught.value.message == message


def test_a_prompt_needs_no_terminal():
    assert output.require_terminal_without("hi", json=True) is False


@given(st.text(alphabet="ab \u6f22", max_size=80), st.integers(10, 40))
def test_wrapping_keeps_every_word_whole(text, width):
    lines = wrap(text, width, "  ")
    assert " ".join(lines).split() == text.split()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [("list --json", 0), ("run starter hi", 0), ("run starter", 2), ("login", 2)],
)
def test_a_stream_that_is_closed_is_no_crash(lf: Lf, words: str, code: int, closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *lf.command(*words.split())]
    done = subprocess.run(command, capture_output=True, text=True, env=lf.env(), timeout=120)
    assert "Traceback" not in done.stderr
    assert done.returncode == code


@pytest.mark.parametrize(("keeper", "left"), [(None, "there was nothing left of its files"), ("you", "its files stay")])
def test_a_removal_that_frees_nothing_says_why(keeper: str | None, left: str) -> None:
    files = (InstalledFile("model.gguf", 5, "0"),)
    model = InstalledModel("m", "q4", "gguf", "Q4_0", "import", None, None, "/m", files, "2026", keeper=keeper)
    (row,) = render_removal(["m"], Removal((model,), (), 0, 0), Screen(io.StringIO()))
    assert row.startswith(f"m is removed: {left}")


def test_a_notice_is_broken_at_words_where_a_terminal_is_narrow() -> None:
    stream = io.StringIO()
    output.print_notice("Bench 20261129-mbzs; `lf bench report` draws it", Screen(stream, 30))
    assert stream.getvalue() == "Bench 20261129-mbzs; `lf bench\nreport` draws it\n"
