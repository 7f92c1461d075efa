"""Runs MLX folders by mlx-lm: on the GPU of Apple silicon, or on the processor, which is for tests.

mlx-lm's own loop has no stop strings, no limit of the context, and rounds logits before it picks the best. So of it we
use what loads and computes a model, `network`; prompts, tokens and text are led from here, by `batch` and `answer`.

Streams of MLX belong to the thread that made them, so each model is computed in one thread of its own. A cancelled
prompt is left alone there until its chunk ends.

Of several requests each has the answer that it has alone. On the processor the logits are the same bit by bit, but for
layers with a window, where they are 1e-6 of their spread apart (22 small networks of random weights). Metal has other
kernels for several rows; it was not run.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localfirst.backends import guide, limits
from localfirst.backends.base import Chunk, LoadedInfo, Started
from localfirst.backends.mlx.answer import Answer, Writing
from localfirst.backends.mlx.batch import Batch
from localfirst.backends.mlx.folder import MlxFolder, read_folder
from localfirst.backends.mlx.network import GPU_PLACEMENTS, Network, find_device_name, import_core
from localfirst.backends.model_folder import TOKENIZER
from localfirst.backends.scoring import Scoring
from localfirst.backends.text import begin_with
from localfirst.backends.token_bytes import ByteDecoder, make_speller, show_special
from localfirst.conversation import MOST_LIKELIEST, Scores
from localfirst.errors import DeviceError, EngineError, LfError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.backends.token_bytes import Decoder

SCORED_TOKENS = 64
"""Tokens whose logits are there at the same time: of a vocabulary of 250,000 they take 64 MB, and as much for numpy."""
DAMAGED = re.compile(
    r"\[load_safetensors\]|\[read\]|incomplete download|Missing \d+ parameters|Expected shape|Received \d+ parameters"
)
"""What MLX says of weights that are cut short, or that do not belong to their configuration."""


class MlxBackend:
    """Loads a folder with `config.json`, `tokenizer.json` and safetensors."""

    def list_devices(self) -> tuple[str, ...]:
        """The GPU of Apple silicon, if this build of MLX sees it."""
        mx = import_core()
        return (find_device_name(mx),) if mx.metal.is_available() else ()

    def describe_build(self) -> str:
        """Version of MLX, and the devices that it has kernels for."""
        mx = import_core()
        kernels = "Metal" if mx.metal.is_available() else "the processor only"
        facts = ", ".join(f"{name} {value}" for name, value in mx.device_info().items())
        return f"MLX {mx.__version__} for {kernels}; {facts}"

    def load(self, files: ModelFiles, options: LoadOptions) -> MlxModel:
        """Load a model. MLX has no setting for the number of threads.

        Raises:
            ModelFileError: a file of the folder is missing, damaged, or asks for code to be run.
            DeviceError: this build of MLX does not compute there.
            EngineError: mlx-lm does not load it, e.g. an architecture that it does not know, or cannot compute it here.
        """
        mx = import_core()
        on_gpu = options.placement in GPU_PLACEMENTS
        if options.placement != "cpu" and not (on_gpu and mx.metal.is_available()):
            raise DeviceError(f"This build of MLX does not compute on a `{options.placement}`")
        path = Path(files.main)
        return MlxModel(path, read_folder(path), options)


class MlxModel(limits.EmbedsNothing):
    """A model in MLX."""

    def __init__(self, path: Path, folder: MlxFolder, options: LoadOptions) -> None:
        context_tokens = min(filter(None, (options.context_tokens, folder.context_tokens)), default=None)
        if context_tokens is None:
            raise ModelFileError("config.json does not say how long its context is")
        self._folder = folder
        self._tokenizer = _open_tokenizer(path / TOKENIZER)  # first: a wrong one is told before gigabytes are read
        self._bos = self._find_added_bos()
        self._ends = folder.end_ids | {self._tokenizer.token_to_id(folder.eos_token)}
        self._spell = make_speller(folder.token_bytes, folder.names, self._tokenizer.decode)
        self._guides = guide.Guides(lambda: (str(path / TOKENIZER), self._ends - {None}))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlx")
        try:
            self._network = self._thread.submit(Network, path, options).result()
        except Exception as error:
            self._thread.shutdown()
            raise _translate(error, path) from error
        if self._network.parallel < options.requests:
            options.report("MLX answers one request at a time: caches like this model's cannot be put together", True)
        self._batch = self._thread.submit(Batch, self._network, self._thread, options.batch_tokens).result()
        self.info = LoadedInfo(
            backend="mlx",
            engine="mlx-lm",
            engine_version=self._network.version,
            context_tokens=context_tokens,
            device=self._network.device,
            placement=options.placement,
            parallel=self._network.parallel,
            template=folder.template,
            bos_token=folder.bos_token,
            eos_token=folder.eos_token,
            constraints=guide.find_kinds(),
            vocabulary_size=self._network.vocabulary_size,
            likeliest=MOST_LIKELIEST,
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancelled answer ends at once; MLX stops with the chunk that it computes."""
        limits.check_asked(request, self.info)
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        held: guide.Guide | None = None
        if request.constraint is not None:
            held = self._guides.make(request.constraint, "MLX", self._network.vocabulary_size)
        yield Started(len(prompt))
        writing = Writing(self._make_decoder(request.special), self._spell, self._ends)
        answer = Answer(prompt, request, allowance, held, writing)
        self._batch.start(answer)
        yield from answer.follow()

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:
        """How likely each token is. A cancel is seen after each chunk of them."""
        prompt = begin_with(self._bos, list(tokens))
        limits.check_scored(prompt, tokens, self.info.context_tokens)
        scoring = Scoring(prompt, len(tokens), likeliest)
        network = self._network
        try:
            kept = self._thread.submit(network.begin).result()
            for begin in range(0, len(prompt), SCORED_TOKENS):
                if cancelled():
                    return Scores(())
                part = prompt[begin : begin + SCORED_TOKENS]
                scoring.take(self._thread.submit(network.read_each, kept, part).result())
        except (RuntimeError, ValueError) as error:
            raise EngineError("MLX failed while computing", detail=str(error)) from error
        return scoring.finish()

    def close(self) -> None:
        """Free the model."""
        self._thread.submit(self._batch.close).result()
        self._thread.submit(self._network.close).result()
        self._thread.shutdown()

    def _tokenize_prompt(self, text: str) -> list[int]:
        """Token ids with the model's own first token, once, whether or not its template wrote it."""
        tokens = self.tokenize(text)
        return begin_with(self._bos, tokens)

    def _find_added_bos(self) -> list[int]:
        """The token that belongs before every text, if one does: by its configuration, else as the tokenizer does."""
        bos = self._tokenizer.token_to_id(self._folder.bos_token)
        added = self._tokenizer.encode("").ids[:1] == [bos]
        wanted = added if self._folder.adds_bos is None else self._folder.adds_bos
        return [bos] if wanted and bos is not None else []

    def _make_decoder(self, special: Sequence[str]) -> Decoder:
        table = self._folder.token_bytes
        plain: Decoder = _TokenizerDecoder(self._tokenizer) if table is None else ByteDecoder(table)
        return show_special(plain, special, self.tokenize)


class _TokenizerDecoder:
    """The tokenizer's own stream, for ways of decoding that we do not know."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        return self._stream.step(self._tokenizer, token) or ""


def _open_tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise ModelFileError(f"{path.name} is no tokenizer", detail=str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _translate(error: Exception, path: Path) -> Exception:
    """A failure to load as an error of ours. What cannot be imported is no fault of the model's, and told elsewhere."""
    if isinstance(error, LfError | ImportError):
        return error
    words = str(error).strip() or type(error).__name__
    if DAMAGED.search(words):
        return ModelFileError(f"The weights of {path.name} are damaged or incomplete", detail=words)
    return EngineError(f"mlx-lm could not load {path.name}", detail=f"{type(error).__name__}: {words}")
