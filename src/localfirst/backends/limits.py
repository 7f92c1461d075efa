"""How many tokens an answer may have, what it is called when it has used them up, and which texts are embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localfirst.conversation import find_lacking, find_unknown
from localfirst.errors import ContextError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localfirst.backends.base import GenerateRequest, LoadedInfo
    from localfirst.conversation import Embedding, FinishReason, Scores


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most tokens an answer may have, and its finish reason if it takes them all."""

    tokens: int
    finish_reason: FinishReason


def find_allowance(prompt_tokens: int, context_tokens: int, max_tokens: int | None) -> Allowance:
    """What the context leaves for an answer, and no more than was asked for.

    Raises:
        ContextError: the prompt leaves no room for a single token.
        UsageError: there is no prompt, or fewer than one token is asked for.
    """
    if prompt_tokens == 0:
        raise UsageError("The prompt is empty")
    if max_tokens is not None and max_tokens < 1:
        raise UsageError(f"The maximum of tokens must be at least 1, not {max_tokens}")
    room = context_tokens - prompt_tokens
    if room < 1:
        raise ContextError(
            f"The prompt has {prompt_tokens} tokens; the context is {context_tokens}",
            detail="The context is shared by prompt and answer",
            hint="Shorten the prompt, or use a model with a longer context; `--ctx` sets it, up to the model's own",
        )
    if max_tokens is not None and max_tokens <= room:
        return Allowance(max_tokens, "length")
    return Allowance(room, "context")


def check_asked(request: GenerateRequest, info: LoadedInfo) -> None:
    """Refuse what an engine lacks, by its name, and a bias of a token that the model does not have.

    Raises:
        UsageError: it was asked for.
    """
    sampling = request.sampling
    if (name := find_lacking(sampling, info.lacks)) is not None:
        raise UsageError(
            f"{info.engine} has no `{name}`",
            detail=f"it lacks {', '.join(info.lacks)}",
            hint="Leave it out, or take a build for another engine: `lf model explain`",
        )
    if (token := find_unknown(sampling, info.vocabulary_size)) is not None:
        raise UsageError(f"`logit_bias` names the token {token}; the model has {info.vocabulary_size}")
    if request.likeliest is not None and (info.likeliest is None or request.likeliest > info.likeliest):
        told = "its tokens were" if info.likeliest is None else f"more than {info.likeliest} others would have been"
        raise UsageError(
            f"{info.engine} does not tell here how likely {told}",
            hint="Leave it out, or take a build for another engine: `lf model explain`",
        )


SHOWN_CHARACTERS = 60


def check_texts(texts: Sequence[str], counts: Sequence[int], context_tokens: int) -> None:
    """Refuse what has no vector, or only one of its beginning.

    Args:
        texts: what is to be embedded.
        counts: the tokens of each.
        context_tokens: the most that the model reads at once.

    Raises:
        UsageError: a text is empty.
        ContextError: a text is too long.
    """
    for text, tokens in zip(texts, counts, strict=True):
        refuse_empty([text] if tokens else [""])
        if tokens > context_tokens:
            raise ContextError(
                f"A text has {tokens} tokens; the model reads {context_tokens} at once",
                detail=f"it begins: {text[:SHOWN_CHARACTERS]}",
                hint="Cut it into parts, or set `--ctx`, up to the model's own",
            )


def refuse_empty(texts: Sequence[str]) -> None:
    """Refuse what has no vector.

    Raises:
        UsageError: a text is empty.
    """
    if not all(text.strip() for text in texts):
        raise UsageError("An empty text has no embedding")


def check_scored(prompt: Sequence[int], given: Sequence[int], context_tokens: int) -> None:
    """Refuse a text that has nothing to score, or of which only the beginning could be.

    Args:
        prompt: all that is computed, the model's own first token among it.
        given: what is to be scored.
        context_tokens: the most that the model reads.

    Raises:
        UsageError: of its tokens none comes after another.
        ContextError: it is too long.
    """
    if len(given) < 2:
        raise UsageError(f"A text of {len(given)} tokens has none that comes after another")
    if len(prompt) > context_tokens:
        raise ContextError(
            f"The text has {len(prompt)} tokens; the context is {context_tokens}",
            hint="Score it in parts, or set `--ctx`, up to the model's own",
        )


class ScoresNothing:
    """A loaded model whose engine, or our adapter to it, does not tell how likely a given text is."""

    info: LoadedInfo

    def score(self, tokens: Sequence[int], likeliest: int, cancelled: Callable[[], bool]) -> Scores:  # noqa: ARG002 - the contract's
        """Refuse, and say what can.

        Raises:
            EngineError: always.
        """
        raise EngineError(
            f"{self.info.engine} does not tell here how likely a given text is",
            detail="llama.cpp, ONNX Runtime GenAI, MLX, OpenVINO GenAI and LiteRT-LM do, where lf runs them itself",
            hint="Use a build for one of them: `lf model explain`",
        )


class EmbedsNothing:
    """A loaded model whose engine, or our adapter to it, computes no embeddings."""

    info: LoadedInfo

    def embed(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[Embedding]:  # noqa: ARG002 - the contract's
        """Refuse, and say what can.

        Raises:
            EngineError: always.
        """
        raise EngineError(
            f"{self.info.engine} computes no embeddings here",
            detail="llama.cpp does, from GGUF files, and OpenVINO, from folders exported for it",
            hint="Use a GGUF build: `--backend llama.cpp`",
        )


def refuse_batch(engine: str, batch_tokens: int | None) -> None:
    """Refuse a number of prompt tokens to compute at once, for an engine that has no such option.

    Raises:
        UsageError: it was asked for.
    """
    if batch_tokens is not None:
        raise UsageError(f"{engine} decides itself how many prompt tokens it computes at once", hint="No `--batch`")


def refuse_as_loaded(*, embeds: bool) -> UsageError:
    """The error for what a model was not loaded for."""
    if embeds:
        return UsageError("This model computes embeddings and answers nothing", hint="`lf embed MODEL TEXT`")
    return UsageError(
        "This is no embedding model: its files name no pooling",
        hint="`--pooling mean`, `cls` or `last` takes its vectors all the same",
    )
