"""Runs OpenVINO folders in OpenVINO GenAI, on Intel's and other processors, Intel's GPUs and its NPUs.

Its pipeline for several requests at once is driven by `openvino.steps`. For NPUs it does not exist: `openvino.npu`
drives the other one. GPUs and NPUs were not run: none was here.

The engine takes no notice of the context that a model was made for, and holds Python's lock during a step.
"""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from localfirst.backends import constraints, limits
from localfirst.backends.base import Chunk, Finished, LoadedInfo, Started
from localfirst.backends.openvino import shared, structure
from localfirst.backends.openvino.embedder import OpenVinoEmbedder
from localfirst.backends.openvino.folder import read_folder
from localfirst.backends.openvino.npu import WholeAnswers
from localfirst.backends.openvino.steps import StepwiseAnswers
from localfirst.backends.sampler import COLDEST
from localfirst.backends.text import Pieces, begin_with
from localfirst.backends.token_bytes import ByteDecoder, make_speller, show_special
from localfirst.choices import find_openvino_prefill_tokens
from localfirst.conversation import IMPOSSIBLE, Likely, Sampling, Scores, Usage, Weighed
from localfirst.errors import ContextError, EngineError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from localfirst.backends.base import GenerateRequest, LoadOptions, ModelFiles
    from localfirst.backends.openvino.folder import OpenVinoFolder
    from localfirst.backends.openvino.shared import Step
    from localfirst.backends.token_bytes import Decoder
    from localfirst.conversation import Embedding, FinishReason

SEEDS = 2**64
EVERY_TOKEN = 2**64 - 1
"""The engine's top-k that leaves all."""
LACKS = ("presence_penalty", "frequency_penalty", "logit_bias")
"""The engine has two of them, but adds to logits below 0 what it takes off those above, which makes repeats likelier.
Source: openvinotoolkit/openvino.genai, `src/cpp/src/sampling/logit_transformers.hpp` (2026.4.1)."""
BROKEN = "\ufffd"


class OpenVinoBackend:
    """Loads a folder with `openvino_model.xml`."""

    def list_devices(self) -> tuple[str, ...]:
        """The GPUs and NPUs that the engine sees, as it calls them."""
        core = shared.import_openvino().Core()
        names = (name for name in core.available_devices if name != "CPU")
        return tuple(str(core.get_property(name, "FULL_DEVICE_NAME")) for name in names)

    def describe_build(self) -> str:
        """Version, build number and commit of OpenVINO below, which computes."""
        words = zip(("OpenVINO", "build", "commit"), shared.import_openvino().get_version().split("-"), strict=False)
        return ", ".join(map(" ".join, words))

    def load(self, files: ModelFiles, options: LoadOptions) -> OpenVinoModel | OpenVinoEmbedder:
        """Load a model, to answer or to embed.

        Raises:
            ModelFileError: a file of the folder is missing or damaged, or nothing says how long the context is.
            DeviceError: the engine does not see such a device.
            EngineError: the engine refuses the folder or lacks the memory.
        """
        path = Path(files.main)
        folder = read_folder(path)
        if (pooling := options.pooling or folder.pooling) is not None:
            return OpenVinoEmbedder(path, folder, options, pooling)
        return OpenVinoModel(path, folder, options)


class OpenVinoModel:
    """A model in OpenVINO GenAI. One request at a time."""

    def __init__(self, path: Path, folder: OpenVinoFolder, options: LoadOptions) -> None:
        openvino = shared.import_openvino()
        import openvino_genai

        self._openvino, self._genai = openvino, openvino_genai
        context_tokens = shared.find_context(path, folder, options)
        device, full_name = shared.find_device(openvino, options.placement)
        prefill_tokens = options.batch_tokens or find_openvino_prefill_tokens(folder.weights_bytes)
        make: Callable[..., Answers] = partial(StepwiseAnswers, prefill_tokens=prefill_tokens)
        if options.placement == "npu":
            limits.refuse_batch("OpenVINO on an NPU", options.batch_tokens)
            make = WholeAnswers
        try:
            self._tokenizer = shared.open_tokenizer(openvino, openvino_genai, path)
            self._answers = make(
                openvino_genai,
                self._tokenizer,
                path,
                device,
                context_tokens,
                shared.make_properties(options),
            )
            self._bos = self._find_added_bos()
        except RuntimeError as error:
            raise shared.translate(error, path) from error
        self._ends = folder.ends or _find_ends(self._tokenizer, path)
        self._token_bytes = folder.token_bytes
        self._spell = make_speller(folder.token_bytes, folder.names, self._tokenizer.decode)
        self.info = LoadedInfo(
            backend="openvino",
            engine="openvino-genai",
            engine_version=openvino_genai.__version__.partition("-")[0],
            context_tokens=context_tokens,
            device=full_name,
            placement=options.placement,
            parallel=1,
            template=folder.template or self._tokenizer.get_original_chat_template() or None,
            bos_token=folder.bos_token or self._tokenizer.get_bos_token(),
            eos_token=folder.eos_token or self._tokenizer.get_eos_token(),
            constraints=tuple(structure.STRUCTURES),
            lacks=LACKS,
            likeliest=self._answers.likeliest,
        )

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, nothing added."""
        return self._tokenize(text, add_special=False)

    def generate(self, request: GenerateRequest) -> Iterator[Chunk]:
        """Answer a prompt. A cancel is seen after each part of the prompt and after each token."""
        limits.check_asked(request, self.info)
        prompt = list(request.prompt) if isinstance(request.prompt, tuple) else self._tokenize_prompt(request.prompt)
        allowance = limits.find_allowance(len(prompt), self.info.context_tokens, request.max_tokens)
        if len(prompt) > self._answers.prompt_tokens:
            raise _make_refusal(len(prompt), self._answers.prompt_tokens, self.info.context_tokens)
        yield Started(len(prompt))
        try:
            yield from self._answer(prompt, allowance, request)
        except RuntimeError as error:
            if request.constraint is not None and (reason := structure.find_refusal(str(error))):
                raise constraints.refuse(request.constraint, "OpenVINO GenAI", reason) from error
            raise EngineError("OpenVINO GenAI failed while answering", detail=shared.find_words(error)) from error

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:  # noqa: ARG002
        """Refuse: it was loaded to answer."""
        raise limits.refuse_as_loaded(embeds=False)

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:  # noqa: ARG002
        """How likely each token is; what would be likelier the engine does not tell. A cancel is seen between steps."""
        prompt = begin_with(self._bos, list(tokens))
        limits.check_scored(prompt, tokens, self._answers.prompt_tokens)
        config = self._describe(Sampling(temperature=0), 1, ignore_end=False)
        config.logprobs, config.echo = 1, True
        try:
            found = self._answers.score(prompt, self._make_tensor(prompt), config, cancelled)
        except RuntimeError as error:
            raise EngineError("OpenVINO GenAI failed while computing", detail=shared.find_words(error)) from error
        return Scores(tuple(found[len(prompt) - len(tokens) :]) if found else ())

    def close(self) -> None:
        """Free the model."""
        self._answers.close()
        del self._answers, self._tokenizer

    def _answer(self, prompt: list[int], allowance: limits.Allowance, request: GenerateRequest) -> Iterator[Chunk]:
        cached_tokens = self._answers.count_cached(prompt)
        decoder, pieces = self._make_decoder(request.special), Pieces(request.stop)
        generated: list[int] = []
        reason: FinishReason | None = None
        began = first_s = perf_counter()
        config = self._describe(request.sampling, allowance.tokens, ignore_end=request.ignore_end)
        if request.constraint is not None:
            config.structured_output_config = structure.describe(self._genai, request.constraint)
        config.logprobs = 0 if request.likeliest is None else 1
        steps = self._answers.run(self._make_tensor(prompt), config)
        try:
            while reason is None:
                step = next(steps)
                if step is not None:
                    first_s = first_s if generated else perf_counter()
                    generated.append(step.token)
                    if step.token not in self._ends:
                        weighed = () if request.likeliest is None else (self._weigh(step),)
                        if (piece := pieces.feed(decoder.feed(step.token), *weighed)) is not None:
                            yield piece
                reason = self._find_end(generated, pieces, allowance, request)
            ended_s = perf_counter()
        finally:
            steps.close()
            self._answers.remember([*prompt, *generated[:-1]] if generated else [])
        if (held := pieces.flush()) is not None:
            yield held
        usage = Usage(len(prompt), len(generated), cached_tokens)
        if not generated:
            yield Finished(reason, usage)
            return
        yield Finished(reason, usage, first_s - began, ended_s - first_s, pieces.word)

    def _weigh(self, step: Step) -> Weighed:
        """What the engine tells of a token: of no other one in its place."""
        return Weighed(Likely(step.token, tuple(self._spell(step.token)), max(step.log_prob, IMPOSSIBLE)))

    def _find_end(
        self, generated: Sequence[int], pieces: Pieces, allowance: limits.Allowance, request: GenerateRequest
    ) -> FinishReason | None:
        if pieces.matched or (generated and generated[-1] in self._ends and not request.ignore_end):
            return "stop"
        if len(generated) == allowance.tokens:
            return allowance.finish_reason
        return "cancelled" if request.cancelled() else None

    def _describe(self, sampling: Sampling, max_tokens: int, *, ignore_end: bool) -> Any:
        """Sampling options in the engine's words; what is not asked for is off, not the folder's default."""
        config = self._genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.ignore_eos = ignore_end
        config.stop_token_ids = set(self._ends)
        config.eos_token_id = min(self._ends)  # else that of the tokenizer's graph is added, or -1
        config.repetition_penalty = sampling.repetition_penalty or 1.0
        min_p = sampling.min_p or 0.0
        config.do_sample = sampling.temperature >= COLDEST and min_p < 1  # at 1 only the best token is left
        if config.do_sample:
            config.temperature = sampling.temperature
            config.top_k = sampling.top_k or EVERY_TOKEN
            config.top_p = 1.0 if sampling.top_p is None else sampling.top_p
            config.min_p = min_p
            config.rng_seed = secrets.randbits(63) if sampling.seed is None else sampling.seed % SEEDS
        return config

    def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special).input_ids.data[0].tolist()
        return tokens

    def _tokenize_prompt(self, text: str) -> list[int]:
        """Token ids with the model's own first token, once, whether or not its template wrote it."""
        tokens = self.tokenize(text)
        return begin_with(self._bos, tokens)

    def _find_added_bos(self) -> list[int]:
        """The token that the tokenizer puts before every text, if it does."""
        added, plain = (self._tokenize("a", add_special=flag) for flag in (True, False))
        return added[:1] if added[1 : len(plain) + 1] == plain else []

    def _make_tensor(self, tokens: Sequence[int]) -> Any:
        import numpy as np

        return self._openvino.Tensor(np.array([tokens], np.int64))

    def _make_decoder(self, special: Sequence[str]) -> Decoder:
        plain: Decoder = _GraphDecoder(self._tokenizer) if self._token_bytes is None else ByteDecoder(self._token_bytes)
        return show_special(plain, special, self.tokenize)


class Answers(Protocol):
    """A pipeline of the engine that computes the tokens of one answer after the other."""

    prompt_tokens: int
    """The most that a prompt may have."""
    likeliest: int | None
    """As in `LoadedInfo`."""

    def count_cached(self, prompt: Sequence[int]) -> int:
        """Tokens of a prompt that need not be read again."""
        ...

    def run(self, prompt: Any, config: Any) -> Generator[Step | None]:
        """Compute: a token, or `None` where there is none yet. Closing it forgets the request."""
        ...

    def remember(self, computed: list[int]) -> None:
        """Take note of what was computed; empty where nobody knows how far that came."""
        ...

    def score(self, tokens: list[int], prompt: Any, config: Any, cancelled: Callable[[], bool]) -> list[float]:
        """The logarithms of how likely each token but the first is; none where it was cancelled."""
        ...

    def close(self) -> None:
        """Free the pipeline."""
        ...


class _GraphDecoder:
    """The folder's own graph, for tokenizers that we do not know: it is asked for the last few tokens together."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []
        self._waiting: list[int] = []

    def feed(self, token: int) -> str:
        self._waiting.append(token)
        shown: str = self._tokenizer.decode(self._before)
        text: str = self._tokenizer.decode(self._before + self._waiting)
        if text.endswith(BROKEN):  # the next token may complete the character
            return ""
        self._before, self._waiting = self._waiting, []
        return text[len(shown) :]


def _make_refusal(prompt_tokens: int, most_tokens: int, context_tokens: int) -> ContextError:
    return ContextError(
        f"The prompt has {prompt_tokens} tokens; of the context of {context_tokens}, {most_tokens} are for it",
        detail="The device computes graphs of fixed sizes, in which a part of the context is kept for the answer",
        hint="Shorten the prompt, or set a longer context: `--ctx`",
    )


def _find_ends(tokenizer: Any, path: Path) -> frozenset[int]:
    """The end token that a tokenizer's graph was made with."""
    end = int(tokenizer.get_eos_token_id())
    if end < 0:
        raise ModelFileError(
            f"{path.name} does not say which token ends an answer",
            detail="neither generation_config.json, nor config.json, nor the tokenizer's graph has an eos_token_id",
        )
    return frozenset({end})
