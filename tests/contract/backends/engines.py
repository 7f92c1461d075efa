"""The real engines with the makers of their model files, for the contract suite."""

from __future__ import annotations

import queue
import tempfile
import threading
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.contract.backends.llama_bindings import find_bindings
from tests.fixtures import scripted, servers
from tests.fixtures.engines import need_engine

from localfirst.backends.base import Finished, GenerateRequest, LoadOptions, ModelFiles, Piece, Pusher, Started
from localfirst.backends.registry import make_backend
from localfirst.choices import PENALTY_WINDOW
from localfirst.conversation import MOST_LIKELIEST, Sampling
from localfirst.errors import LfError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localfirst.backends.base import Chunk, LoadedModel
    from localfirst.conversation import Weighed

GREEDY = Sampling(temperature=0)


@dataclass(frozen=True, slots=True)
class Engine:
    """A backend's name, and how its files are made."""

    backend: str
    file_name: str
    make: Callable[..., scripted.Vocabulary]
    make_random: Callable[..., scripted.Vocabulary]
    build: str = r"commit(-id=| )\w+"
    """What it says of its build, at least."""
    reuse_tokens: int = 1
    """Its cache keeps of a prompt's beginning as many tokens as are a multiple of this."""
    lacks: tuple[str, ...] = ()
    """Sampling options that it refuses by name."""
    penalty_tokens: int = PENALTY_WINDOW
    """The last tokens that a repetition penalty looks at."""
    one_sampler: bool = False
    """Its cache belongs to a sampler: only a turn with the same options, and without a seed, goes on from it."""
    knows_bos: bool = True
    """Its files name a first token also where prompts do without."""
    script: str | None = None
    """The program that serves, for an engine that is one: in `tests/fixtures/servers`."""

    @property
    def program(self) -> str | None:
        """The path of that program."""
        return None if self.script is None else make_program(self.script)

    ignores_end: bool = True
    told_batch: bool = True
    """It can be told how many tokens of a prompt to compute at once."""
    embeds: bool = False
    embeds_any: bool = True
    """Whether it also embeds by a model that was made to answer."""
    scores: float | None = None
    """How near to numpy its scores of a text are; `None`: it gives none."""
    tells_likeliest: bool = True
    weighs: int | None = MOST_LIKELIEST
    """How many of the likeliest tokens it tells beside each of an answer's; `None`: it tells nothing of them."""
    weighs_parts: bool = True
    """It also tells of tokens that end inside a character."""
    batches: bool = False
    drafts: bool = False
    pushes: bool = False
    """Its answers are taken where the engine calls back, as the worker takes them."""

    def load(
        self, path: Path, context_tokens: int | None = None, *, draft: Path | None = None, **options: Any
    ) -> LoadedModel:
        """Load a file or folder as the worker would."""
        need_engine(self.backend)
        files = ModelFiles(str(path), draft and str(draft))
        model = make_backend(self.backend, self.program).load(files, LoadOptions(context_tokens, threads=2, **options))
        return Pushed(model) if self.pushes else model


class Pushed:
    """A model that gives by `generate` what `push` gives."""

    def __init__(self, model: LoadedModel) -> None:
        assert isinstance(model, Pusher)
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """As `LoadedModel.generate`."""
        if request.constraint is not None:
            yield from self._model.generate(request)
            return
        told: queue.SimpleQueue[Chunk | LfError] = queue.SimpleQueue()
        left, wanted = threading.Event(), threading.Semaphore(0)

        def put(chunk: Chunk) -> None:
            told.put(chunk)
            wanted.acquire()  # whoever takes it may have had enough, as the worker may

        def push() -> None:
            asked = replace(request, cancelled=lambda: left.is_set() or request.cancelled())
            try:
                self._model.push(asked, put, lambda: None)
            except LfError as error:
                told.put(error)

        pushing = threading.Thread(target=push)
        pushing.start()
        try:
            got: Chunk | LfError | None = None
            while not isinstance(got, Finished):
                if isinstance(got := told.get(), LfError):
                    raise got
                yield got
                wanted.release()
        finally:
            left.set()
            wanted.release(1000)
            pushing.join()


ENGINES = (
    Engine(
        "xllamacpp",
        "model.gguf",
        scripted.make_gguf,
        scripted.make_random_gguf,
        embeds=True,
        batches=True,
        drafts=True,
        scores=3e-4,
        weighs_parts=False,
    ),
    Engine("onnx", "model", scripted.make_onnx, scripted.make_random_onnx, scores=1e-5),
    Engine("mlx", "model", scripted.make_mlx, scripted.make_random_mlx, r"MLX \d+\.\d+", batches=True, scores=1e-5),
    Engine(
        "openvino",
        "model",
        scripted.make_openvino,
        scripted.make_random_openvino,
        reuse_tokens=32,
        embeds=True,
        embeds_any=False,
        scores=2e-2,
        tells_likeliest=False,
        lacks=("presence_penalty", "frequency_penalty", "logit_bias"),
        penalty_tokens=2**31,
        weighs=0,
    ),
    Engine(
        "litert",
        "model.litertlm",
        scripted.make_litert,
        scripted.make_random_litert,
        build=r"litert-lm-api \d+\.\d+",
        lacks=("min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias"),
        one_sampler=True,
        ignores_end=False,
        told_batch=False,
        knows_bos=False,
        weighs=None,
        scores=1e-3,
        tells_likeliest=False,
    ),
    Engine(
        "llama-server",
        "model.gguf",
        scripted.make_gguf,
        scripted.make_random_gguf,
        r"version: \d+ \(\w+\)",
        script="llama_server.py",
        embeds=True,
        weighs_parts=False,
    ),
    Engine(
        "llamafile",
        "model.llamafile",
        servers.make_llamafile,
        servers.make_random_llamafile,
        r"version: \d+ \(\w+\)",
        embeds=True,
        weighs_parts=False,
    ),
)
PUSHED = replace(ENGINES[0], pushes=True)
BINDINGS = Engine(
    "llama-cpp-python", "model.gguf", scripted.make_gguf, scripted.make_random_gguf, embeds=True, scores=3e-4
)
BITNET = Engine("bitnet", "model.gguf", scripted.make_bitnet, scripted.make_random_bitnet)
"""These two are held to the same contract where there is a build of llama-cpp-python."""
find_bindings()


def find_engine(backend: str) -> Engine:
    """The row of a backend."""
    return next(one for one in (*ENGINES, BINDINGS, BITNET) if one.backend == backend)


@cache
def make_program(script: str) -> str:
    """Write a program once for the whole run."""
    return servers.make_program(Path(tempfile.mkdtemp(prefix="lf-test-")) / "program", script)


def never() -> bool:
    """Nobody cancels."""
    return False


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    prompt_tokens: int
    pieces: tuple[str, ...]
    end: Finished
    weighed: tuple[Weighed, ...] = ()

    @property
    def text(self) -> str:
        """All pieces."""
        return "".join(self.pieces)


def ask(model: LoadedModel, prompt: str | tuple[int, ...], sampling: Sampling = GREEDY, **options: object) -> Reply:
    """Run a request to its end, and check the order of its chunks."""
    started, *pieces, end = model.generate(GenerateRequest(prompt, sampling, **options))
    assert isinstance(started, Started)
    assert isinstance(end, Finished)
    assert all(isinstance(piece, Piece) and (piece.text or piece.weighed) for piece in pieces)
    weighed = tuple(one for piece in pieces for one in piece.weighed)
    return Reply(started.prompt_tokens, tuple(piece.text for piece in pieces), end, weighed)
