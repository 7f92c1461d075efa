"""What a bench is asked for, taken together from the words of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.bench import texts, workload
from localfirst.bench.values import Workload
from localfirst.errors import UsageError
from localfirst.services.prompt import read_text_file
from localfirst.types import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scenario(NamedTuple):
    """A text to read instead of random words; of a built-in one `text` is `None`: each repetition has its own."""

    name: str
    text: str | None
    generated_tokens: int


class Asked(NamedTuple):
    """What to measure of whom."""

    models: tuple[str, ...] = ()
    """As typed; a `remote:` name is a server. None, and no server: every model on this disk."""
    workloads: tuple[Workload, ...] = (Workload(512, 0), Workload(0, 128))
    scenarios: tuple[Scenario, ...] = ()
    """The texts of those workloads that are scenarios."""
    wanted: Wanted = Wanted(min_tps=0)
    backends: tuple[str, ...] = ()
    """Engines to measure each model in; none: the one that the resolver chooses."""
    every_backend: bool = False
    """All engines that are here and load what is here of a model."""
    repetitions: int = 5
    warmups: int = 1
    """Repetitions before them, which do not count."""
    threads: int | None = None
    """`None`: as many as a run on a quiet machine has."""
    batch_tokens: int | None = None
    served: bool = False
    """Whether what a server has loaded is measured there."""
    """Prompt tokens per pass; `None`: the adapter's own."""

    def find_scenario(self, name: str) -> Scenario:
        """The scenario of a workload."""
        return next(one for one in self.scenarios if one.name == name)


def make_workloads(  # noqa: PLR0913 - one keyword per option
    *,
    prompts: Sequence[str],
    answers: Sequence[str],
    pairs: Sequence[str],
    depths: Sequence[str],
    concurrency: Sequence[str],
    scenarios: Sequence[Scenario] = (),
) -> tuple[Workload, ...]:
    """The workloads that the options name; as llama-bench, `-p` is 512 and `-n` 128 where not given.

    With a scenario they are 0 then: who asks for a text wants that measured.

    Raises:
        UsageError: one is none.
    """
    return workload.combine(
        prompts=workload.parse_numbers("-p", prompts or ("0" if scenarios else "512",)),
        answers=workload.parse_numbers("-n", answers or ("0" if scenarios else "128",)),
        pairs=workload.parse_pairs(pairs),
        depths=workload.parse_numbers("-d", depths or ("0",)),
        concurrency=workload.parse_numbers(
            "--concurrency", concurrency or ("1",), least=1, most=workload.MOST_REQUESTS
        ),
        scenarios=[Workload(0, one.generated_tokens, scenario=one.name) for one in scenarios],
    )


def read_scenarios(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios of their names: built in, or a text file's.

    Raises:
        UsageError: there is no such scenario, and no such file.
    """
    found: dict[str, Scenario] = {}
    for name in names:
        if name in texts.SCENARIOS:
            found[name] = Scenario(name, None, texts.SCENARIOS[name][1])
            continue
        path = Path(name)
        if not paths.is_file(path):
            known = ", ".join(texts.SCENARIOS)
            raise UsageError(f"`{name}` is no scenario, and no file", hint=f"One of: {known}; or a text file's path")
        text = texts.check_text(name, read_text_file(path))
        if path.name in found:
            raise UsageError(f"Two texts are called `{path.name}`: nobody could tell them apart", hint="Rename one")
        found[path.name] = Scenario(path.name, text, texts.SCENARIOS["chat"][1])
    return tuple(found.values())
