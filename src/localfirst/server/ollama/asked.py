"""What Ollama's requests have in common: a model, how tokens are drawn, how long it stays loaded. Pure.

Source of the form: ollama/ollama, `docs/api.md` and `api/types.go`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localfirst.choices import PENALTY_WINDOW
from localfirst.conversation import PENALTIES, Constraint, Sampling, find_lacking
from localfirst.server.asked import MOST_STOPS, MOST_TOKENS, Manner, hold_to
from localfirst.server.failures import ParameterError
from localfirst.server.fields import Fields, refuse_type
from localfirst.server.likely import take_likeliest

if TYPE_CHECKING:
    from localfirst.types import Plan

LATEST = ":latest"
"""The tag that stands for none."""
NO_IMAGES: tuple[Any, ...] = ([],)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "images": NO_IMAGES,
    "template": ("",),
    "suffix": ("",),
    "context": ([],),
    "truncate": (True, False),  # what is too long is an error, which says so
    "shift": (True, False),  # as above
}
"""Values that ask for nothing, of parameters that are not honoured otherwise."""
MOST_PENALTY = 2
NAMES = {"repetition_penalty": "options.repeat_penalty"} | {
    name: f"options.{name}" for name in ("top_k", "top_p", "min_p", "seed", "presence_penalty", "frequency_penalty")
}
"""What fields of `Sampling` are called here."""
NEUTRAL_OPTIONS: dict[str, tuple[Any, ...]] = {
    "typical_p": (1, 1.0),
    "tfs_z": (1, 1.0),
    "mirostat": (0,),
    "num_gpu": (-1,),
    "main_gpu": (0,),
    "num_thread": (0,),
    "numa": (False,),
    "low_vram": (False,),
    "use_mlock": (False,),
    "use_mmap": (True,),
}
"""The same of `options`. How a model is loaded is the server's to say, not a request's."""
UNLIMITED = (-1, -2)
"""`num_predict` for as many as there is room for."""
EFFORTS = {"low": "low", "medium": "medium", "high": "high", "max": "high"}
LONGEST_S = 1e9
"""Thirty years: more than any server runs, and a time that a calendar still has."""
UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([+-]?)((?:\d{1,9}(?:\.\d{0,9})?(?:ns|us|µs|ms|s|m|h))+|0)", re.ASCII)
_PART = re.compile(r"([\d.]+)(ns|us|µs|ms|s|m|h)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Common:
    """What every request for an answer says besides what it asks."""

    name: str
    """The model's, as it was asked for."""
    manner: Manner
    keep_alive_s: float | None
    """How long the model stays loaded afterwards; `None`: nothing is said of it."""
    context_tokens: int | None
    """What the context has to hold at least."""
    options: dict[str, Any]
    """What the model's template is told besides."""
    shows_thinking: bool

    def check(self, plan: Plan) -> None:
        """See that what is loaded is as large as was asked for.

        Raises:
            ParameterError: it is not.
        """
        check_context(self.context_tokens, plan)


def parse_common(fields: Fields) -> Common:
    """Take what requests for an answer have in common.

    Raises:
        ParameterError: one of them is wrong, or cannot be honoured.
    """
    options = take_options(fields)
    context = options.integer("num_ctx", 0, MOST_TOKENS) or None
    predicted = options.integer("num_predict", min(UNLIMITED), MOST_TOKENS)
    if predicted == 0:
        raise ParameterError("`options.num_predict` has to be 1 at least, or -1", "options.num_predict")
    seed = options.integer("seed", -(2**63), 2**63 - 1)
    thinking = fields.take("think")
    stream = fields.flag("stream", default=True)
    name = fields.text("model")
    manner = Manner(
        model=find_name(name),
        drawn={
            "temperature": options.number("temperature", 0, 2),
            "top_p": options.number("top_p", 0, 1),
            "top_k": options.integer("top_k", 0, MOST_TOKENS) or None,
            "min_p": options.number("min_p", 0, 1),
            "repetition_penalty": options.number("repeat_penalty", 0.1, 10),
            "presence_penalty": options.number("presence_penalty", -MOST_PENALTY, MOST_PENALTY),
            "frequency_penalty": options.number("frequency_penalty", -MOST_PENALTY, MOST_PENALTY),
        },
        names=NAMES,
        likeliest=take_likeliest(fields),
        seed=None if seed == -1 else seed,
        max_tokens=None if predicted in UNLIMITED else predicted,
        stop=options.texts("stop", MOST_STOPS),
        stream=stream,
    )
    _check_window(options.integer("repeat_last_n", -1, MOST_TOKENS), manner)
    options.end((), NEUTRAL_OPTIONS)
    return Common(name, manner, take_keep_alive(fields), context, _find_effort(thinking), thinking is not False)


def _check_window(tokens: int | None, manner: Manner) -> None:
    """See that penalties look at as many tokens as they are to; how many has no part where there are none.

    Raises:
        ParameterError: they look at others.
    """
    asked = Sampling(**{name: manner.drawn[name] for name in PENALTIES})
    if tokens not in {None, PENALTY_WINDOW} and find_lacking(asked, PENALTIES) is not None:
        raise ParameterError(
            f"`options.repeat_last_n` has to be {PENALTY_WINDOW}, which is what penalties look at",
            "options.repeat_last_n",
            "unsupported_value",
        )


def find_name(name: str) -> str:
    """A model's name as we know it: without the tag that means none."""
    return name.removesuffix(LATEST) or name


def take_options(fields: Fields) -> Fields:
    """The `options` of a request.

    Raises:
        ParameterError: they are no object.
    """
    given = fields.take("options")
    if given is not None and not isinstance(given, dict):
        raise refuse_type("options", "an object")
    return Fields(given or {}, "options")


def take_keep_alive(fields: Fields) -> float | None:
    """Seconds, of a number or a text such as `5m` or `1h30m`; below 0 it is for ever.

    Raises:
        ParameterError: it is neither.
    """
    given = fields.take("keep_alive")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise refuse_type("keep_alive", "a number of seconds, or a text such as 5m")
    seconds = parse_duration(given) if isinstance(given, str) else given
    if seconds is None:
        raise ParameterError("`keep_alive` has to be a number of seconds, or a text such as 5m", "keep_alive")
    return math.inf if seconds < 0 else float(min(seconds, LONGEST_S))


def parse_duration(text: str) -> float | None:
    """Seconds, of a text as Go writes durations: https://pkg.go.dev/time#ParseDuration. `None`: it is none."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in _PART.findall(match[2]))
    return -seconds if match[1] == "-" else seconds


def take_format(fields: Fields) -> Constraint | None:
    """What an answer is held to: nothing, any JSON object, or a schema.

    Raises:
        ParameterError: it is something else.
    """
    form = fields.take("format")
    if form is None or form == "":
        return None
    if form == "json":
        return Constraint("json_object")
    if not isinstance(form, dict):
        raise refuse_type("format", "`json` or a JSON schema")
    return hold_to(form, "format")


def check_context(wanted: int | None, plan: Plan) -> None:
    """See that a model was loaded with a context that is long enough.

    Raises:
        ParameterError: it was not.
    """
    if wanted is not None and plan.context_tokens is not None and wanted > plan.context_tokens:
        raise ParameterError(
            f"`options.num_ctx` is {wanted}, and the model is loaded with a context of {plan.context_tokens} tokens. "
            f"Start the server with `lf serve --ctx {wanted}`, or leave it out",
            "options.num_ctx",
        )


def _find_effort(value: Any) -> dict[str, Any]:
    """Whether and how hard the model is to think, by the names that templates know it by."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"enable_thinking": value}
    if not isinstance(value, str) or value not in EFFORTS:
        raise refuse_type("think", f"true, false or one of {', '.join(EFFORTS)}")
    return {"enable_thinking": True, "reasoning_effort": EFFORTS[value]}
