"""A bench on real engines: the built-in model in each of them, and small models made on the spot."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tests.contract.backends.engines import make_program
from tests.fixtures import formats, scripted
from tests.fixtures.engines import has_engine, need_engine

from localfirst.bench.compare import compare
from localfirst.bench.statistics import summarize
from localfirst.bench.values import Bench, Workload
from localfirst.errors import ContextError, EngineError, LfError, UnknownNameError, UsageError
from localfirst.hwprobe.energy import Meter
from localfirst.hwprobe.probe import probe
from localfirst.services.bench.asked import Asked, Scenario, read_scenarios
from localfirst.services.bench.repetition import Asker
from localfirst.services.bench.run import Run
from localfirst.services.importing import import_model
from localfirst.services.preparing import Allowed, ignore
from localfirst.store.measurements import find_rates
from localfirst.types import Progress

OFFLINE = Allowed(network=False, install=False)
READ, WRITE = Workload(16, 0), Workload(0, 8)
RUNTIMES = {"xllamacpp": "llama-cpu", "onnx": "onnx-cpu", "openvino": "openvino-cpu", "litert": "litert-cpu"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


def measure(*workloads: Workload, allowed: Allowed = OFFLINE, models: tuple[str, ...] = ("starter",), **asked) -> Bench:
    options = {"repetitions": 2, "warmups": 0} | asked
    run = Run(Asked(models, workloads or (READ, WRITE), **options), ("bench",), allowed)
    run.prepare()
    run.measure()
    return run.finish()


@pytest.fixture
def model(tmp_path: Path) -> str:
    need_engine("xllamacpp")
    scripted.make_gguf(tmp_path / "model.gguf", text="A short answer.")
    return str(tmp_path / "model.gguf")


def find_children() -> set[psutil.Process]:
    """The processes that this one has started: other tests may have left some."""
    return set(psutil.Process().children())


@pytest.mark.parametrize("backend", RUNTIMES)
def test_the_built_in_model_is_measured_in_each_engine(backend: str) -> None:
    need_engine(backend)
    bench = measure(READ, WRITE, Workload(16, 8), Workload(16, 0, 64), backends=(RUNTIMES[backend],))
    assert (bench.complete, bench.failures) == (True, ())
    assert [one.workload.name for one in bench.series] == ["pp16", "tg8", "pp16+tg8", "pp16 @ d64"]
    for series in bench.series:
        assert series.contender.runtime == RUNTIMES[backend]
        assert len(series.samples) == 2
        assert series.load.warm_s
        assert series.peak_bytes
        assert series.peak_bytes > 2**20
        assert (summarize(series).rate or (0,))[0] > 0
    assert all(sample.prompt_tokens + sample.cached_tokens == 16 for sample in bench.series[0].samples)
    if backend != "litert":
        assert all(sample.completion_tokens == 8 for one in bench.series[1:3] for sample in one.samples)
    assert all(0 < sample.prompt_tokens <= 24 for sample in bench.series[3].samples)


def test_files_of_ones_own_are_told_apart_by_their_digests(tmp_path: Path) -> None:
    need_engine("xllamacpp")
    paths = [tmp_path / name / "model.gguf" for name in ("one", "other")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        scripted.make_random_gguf(path, scripted.Shape(layers=2, context=1024), seed=seed)
    ours, theirs = (measure(WRITE, models=(str(path),)) for path in paths)
    told = [one.series[0].contender.digest for one in (ours, theirs)]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert told == [hashlib.sha256(f"{digest}\n".encode()).hexdigest() for digest in digests]
    (unlike,) = compare(ours, theirs).unlike
    assert "files" in [one.name for one in unlike.differences]


def test_contenders_take_turns_and_are_told_apart() -> None:
    for backend in ("xllamacpp", "onnx"):
        need_engine(backend)
    told: list[str] = []
    run = Run(Asked(("starter",), (WRITE,), backends=("llama.cpp", "onnx"), repetitions=2, warmups=1), (), OFFLINE)
    run.prepare()
    run.measure(lambda progress: told.append(progress.detail["line"]))
    bench = run.finish()
    turns = [line.partition(" in ")[2] for line in told if "tg8" in line]
    assert turns == [
        f"{runtime}: tg8, {what}"
        for what in ("warming up", "1 of 2", "2 of 2")
        for runtime in ("llama-cpu", "onnx-cpu")
    ]
    ours, theirs = bench.series
    assert ours.contender.digest != theirs.contender.digest
    assert ours.contender.format == "gguf"


def test_all_engines_that_are_here_are_measured_and_the_others_named_with_what_to_type() -> None:
    here = {runtime for backend, runtime in RUNTIMES.items() if has_engine(backend)}
    bench = measure(WRITE, every_backend=True)
    assert {one.contender.runtime for one in bench.series} == here
    assert all("lf runtime install" in note or "lf pull" in note for note in bench.failures)
    assert bench.complete


def test_what_is_on_this_disk_and_not_for_this_machine_is_left_out(model: str, tmp_path: Path) -> None:
    import_model(Path(model), "mine", report=ignore)
    nobodys = formats.make_mlx(tmp_path / "weights", quantization_config={"quant_method": "gptq"})
    import_model(nobodys, "weights", report=ignore)
    bench = measure(WRITE, models=(), repetitions=1)
    assert [one.contender.model for one in bench.series] == ["mine"]
    (note,) = (note for note in bench.failures if note.startswith("weights"))
    assert note.startswith("weights is not for this machine: safetensors needs vLLM")
    assert bench.complete


def test_requests_at_the_same_time_are_measured_together() -> None:
    need_engine("xllamacpp")
    bench = measure(*(Workload(16, 8, concurrency=requests) for requests in (1, 4)), backends=("xllamacpp",))
    one, four = bench.series
    assert len(four.samples[0].first_token_s) == 4
    assert (one.samples[0].completion_tokens, four.samples[0].completion_tokens) == (8, 32)
    assert not any("wait" in mark for mark in four.marks)


def test_an_engine_that_answers_one_at_a_time_is_marked() -> None:
    need_engine("onnx")
    (series,) = measure(Workload(0, 8, concurrency=2), backends=("onnx",)).series
    assert any("computes 1 of 2 requests at a time" in mark for mark in series.marks)


def test_an_engine_that_cannot_go_on_past_an_end_is_told_by_name() -> None:
    need_engine("litert")
    (series,) = measure(Workload(0, 64), backends=("litert",)).series
    assert all(sample.completion_tokens < 64 for sample in series.samples)
    assert any("litert-lm cannot be made to go on" in mark for mark in series.marks)


def test_a_scenario_is_answered_as_a_chat_and_its_length_is_told(model: str) -> None:
    scenario = Scenario("question", "How long is this text?", 6)
    bench = measure(Workload(0, 6, scenario="question"), scenarios=(scenario,), models=(model,))
    (series,) = bench.series
    assert series.workload.name == "question"
    assert series.workload.prompt_tokens > 22
    assert series.samples[0].completion_tokens == 6


def test_other_benches_of_a_scenario_have_the_same_texts(model: str) -> None:
    chat = Workload(0, 4, scenario="chat")
    short = measure(READ, chat, scenarios=read_scenarios(["chat"]), models=(model,), repetitions=1)
    long = measure(READ, chat, scenarios=read_scenarios(["chat"]), models=(model,), repetitions=2, warmups=1)
    lengths = [
        [sample.prompt_tokens + sample.cached_tokens for sample in bench.series[1].samples] for bench in (short, long)
    ]
    assert lengths[0] == lengths[1][:1]
    assert [len(pair.changes) > 0 for pair in compare(short, long).pairs] == [True, True]


def test_a_server_elsewhere_is_never_asked_what_an_earlier_bench_asked() -> None:
    asked: list[str] = []

    class Server:
        def answer(self, request):
            asked.append(request.messages[0].content)
            raise EngineError("It went away")

    info = SimpleNamespace(ignores_end=False, engine="server")
    for _ in range(2):
        asker = Asker(Server(), info, Asked(scenarios=read_scenarios(["chat"])), Meter(()), remote=True)
        for workload in (READ, Workload(0, 4, scenario="chat")):
            with pytest.raises(EngineError):
                asker.repeat(workload, 0)
    assert len(set(asked)) == 4


def test_what_does_not_fit_the_context_is_told_and_the_rest_is_measured(model: str) -> None:
    bench = measure(Workload(4000, 0), WRITE, models=(model,))
    assert [one.workload for one in bench.series] == [WRITE]
    assert bench.failures[0].startswith("pp4000 of ")
    with pytest.raises(UsageError, match="too short"):
        measure(Workload(4000, 0), models=(model,), wanted=Asked().wanted._replace(context_tokens=512))


def test_a_server_elsewhere_is_measured_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("xllamacpp")
    from tests.contract.backends.test_servers import load

    scripted.make_random_gguf(tmp_path / "random.gguf", scripted.Shape(layers=1))
    served = load("llama-server", tmp_path / "random.gguf", make_program("llama_server.py"))
    try:
        address = served._address
        monkeypatch.setenv("LF_REMOTE_KEY", address.key)
        name = f"remote:http://127.0.0.1:{address.port}/v1"
        bench = measure(READ, WRITE, models=(name,), allowed=Allowed())
    finally:
        served.close()
    reading, writing = bench.series
    assert reading.contender.runtime == f"http://127.0.0.1:{address.port}"
    assert (reading.contender.format, reading.contender.digest, reading.peak_bytes) == ("remote", None, None)
    assert address.key not in repr(bench)
    assert all(sample.completion_tokens == 8 for sample in writing.samples)
    with pytest.raises(LfError, match="network is switched off"):
        measure(READ, models=(name,))


def test_what_has_no_room_together_is_loaded_for_its_turn_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in ("xllamacpp", "onnx"):
        need_engine(backend)
    monkeypatch.setattr("localfirst.services.bench.run._fit_together", lambda _: False)
    run = Run(Asked(("starter",), (WRITE,), backends=("llama.cpp", "onnx"), repetitions=2, warmups=0), (), OFFLINE)
    run.prepare()
    others = find_children()
    workers: list[int] = []
    said: list[str] = []

    def watch(progress: Progress) -> None:
        workers.append(len(find_children() - others))
        said.append(str(progress.detail["line"]))

    run.measure(watch)
    assert max(workers) == 1
    assert [line.rpartition(", ")[2] for line in said if " of 2" in line] == ["1 of 2", "1 of 2", "2 of 2", "2 of 2"]
    assert [len(one.samples) for one in run.finish().series] == [2, 2]


def test_a_contender_that_dies_is_told_and_what_was_measured_stays(model: str) -> None:
    run = Run(Asked((model,), (READ, WRITE), repetitions=2, warmups=0), (), OFFLINE)
    run.prepare()
    others = find_children()

    def report(progress: Progress) -> None:
        if "tg8, 2 of 2" in progress.detail["line"]:
            for child in find_children() - others:
                child.kill()

    run.measure(report)
    bench = run.finish()
    assert [len(one.samples) for one in bench.series] == [2, 1]
    assert not bench.complete
    assert [error.code for error in run.errors] == ["worker-crash"]
    assert bench.failures[0].startswith("model")


def test_an_interrupt_leaves_what_is_done_and_no_process(model: str) -> None:
    run = Run(Asked((model,), (READ, WRITE), repetitions=2, warmups=0), (), OFFLINE)
    run.prepare()
    others, threads = find_children(), set(threading.enumerate())

    def report(progress: Progress) -> None:
        if "tg8, 2 of 2" in progress.detail["line"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.measure(report)
    bench = run.finish()
    assert [len(one.samples) for one in bench.series] == [2, 1]
    assert not bench.complete
    assert find_children() <= others
    assert len(set(threading.enumerate()) - threads) < 10


def test_names_that_are_none_end_it_before_anything_is_measured(model: str) -> None:
    for asked, error in (
        (Asked(("starter",), backends=("llama-cpu", "nope")), UnknownNameError),
        (Asked(("no-such-model",)), UnknownNameError),
        (Asked((), (READ,)), UsageError),
        (Asked((model,), (READ,), wanted=Asked().wanted._replace(device="npu")), LfError),
    ):
        with pytest.raises(error):
            Run(asked, (), OFFLINE).prepare()


def test_a_file_that_vanishes_before_it_is_loaded_is_told(model: str) -> None:
    run = Run(Asked((model,), (READ,), repetitions=1), (), OFFLINE)
    run.prepare()
    Path(model).unlink()
    run.measure()
    assert run.finish().series == ()
    assert [error.code for error in run.errors] == ["model-file"]


def test_lists_of_models_go_by_what_was_measured_on_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    need_engine("xllamacpp")
    from localfirst.services.bench import marks

    monkeypatch.setattr(marks, "BUSY_SHARE", 2)
    monkeypatch.setattr(marks, "WIDE_SHARE", 1e9)
    bench = measure(Workload(64, 0), Workload(0, 32), backends=("llama-cpu",))
    assert [one.marks for one in bench.series] == [(), ()]
    rates = find_rates(probe())["starter", "q4_0", "llama-cpu"]
    decoded = [sample.decode_tps for sample in bench.series[1].samples]
    assert min(decoded) <= rates.decode_tps <= max(decoded)
    assert rates.prefill_tps is not None


def test_what_is_marked_is_not_remembered() -> None:
    need_engine("litert")
    measure(Workload(0, 64), backends=("litert",))
    assert find_rates(probe()) == {}


def test_nothing_of_a_workload_that_asks_for_too_much_is_measured(model: str) -> None:
    run = Run(Asked((model,), (Workload(4000, 0),)), (), OFFLINE)
    run.prepare()
    run.measure()
    assert run.finish().series == ()
    assert isinstance(run.refusals[0], ContextError)
