"""The values of a benchmark: what was asked for, of whom, under which conditions, and every single figure that came.

Nothing here is a mean: a stored bench keeps its samples, so that whoever reads it can count anew. Sizes are bytes,
times seconds, energies joules. Unknown is `None`: no counter, no sensor, nobody looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from localfirst.types import CacheType, Format, Placement


class Workload(NamedTuple):
    """One thing to measure, by tokens: llama-bench's `pp` (prompt processing) and `tg` (text generation)."""

    prompt_tokens: int
    """Read anew. 0: only generating is measured, after a prompt of a few tokens that does not count."""
    generated_tokens: int
    """0: only reading is measured."""
    depth_tokens: int = 0
    """In the cache before either begins."""
    concurrency: int = 1
    """Requests at the same time, each of this size."""
    scenario: str | None = None
    """The name of a text that was read instead of random tokens; `prompt_tokens` is then how long it was."""

    @property
    def name(self) -> str:
        """`pp512`, `tg128`, `pp512+tg128`, `tg128 @ d4096`, `tg128 x4`, `chat`: llama-bench's, where it has one."""
        parts = (("pp", self.prompt_tokens), ("tg", self.generated_tokens))
        name = self.scenario or "+".join(f"{kind}{tokens}" for kind, tokens in parts if tokens)
        name += f" @ d{self.depth_tokens}" if self.depth_tokens else ""
        return name + (f" x{self.concurrency}" if self.concurrency > 1 else "")


THROUGH = "it was measured through the server that has it loaded, beside whatever else that answers"
"""The mark of what no worker of the bench's own has computed: compared with its like only."""


class Contender(NamedTuple):
    """What is measured: a build in a runtime on a device, or a server elsewhere; all that makes two of them unlike."""

    model: str
    variant: str | None
    """`None`: a server does not say which build it has."""
    quantization: str | None
    format: Format
    size_bytes: int | None
    """Of the weights."""
    digest: str | None
    """SHA-256 over the files' digests, so that two machines can tell that they ran the same bytes."""
    runtime: str
    """`llama-cpu`; for a server elsewhere its address, without a key."""
    engine: str
    engine_version: str
    build: str | None
    """What the engine says of its own build."""
    device: str
    """In the engine's words."""
    placement: Placement
    driver: str | None
    context_tokens: int | None
    threads: int | None
    cache: CacheType = "f16"
    batch_tokens: int | None = None
    """Prompt tokens per pass, where one was asked for."""


class Sample(NamedTuple):
    """One repetition of a workload by one contender: all of its requests, from the first asked to the last answered."""

    wall_s: float
    prefill_tps: float | None
    """Prompt tokens per second while reading, of all requests together."""
    decode_tps: float | None
    """Tokens per second after the first one, of all requests together."""
    first_token_s: tuple[float, ...]
    """One for each request, as the asking side sees it."""
    gaps_s: tuple[float, ...] = ()
    """Between the pieces of text that arrived, over all requests: mostly, but not always, one token each."""
    prompt_tokens: int = 0
    """Computed, not found in a cache; of all requests together, as are the next two."""
    cached_tokens: int = 0
    completion_tokens: int = 0
    energy_j: float | None = None
    """What the counter of `Bench.energy_counter` says the machine took for it, idle power included."""


class Conditions(NamedTuple):
    """The machine while it was measured, at one moment."""

    at: str
    """UTC, ISO 8601."""
    load_average: float | None
    """Of the last minute: threads that wanted a processor. The bench's own are among them once it runs."""
    busy_share: float | None = None
    """Share of all processor time that others took, 0 to 1, while nothing of ours ran."""
    governor: str | None = None
    """How the system chooses the processor's frequency: `performance`, `powersave`, ..."""
    frequency_hz: int | None = None
    temperature_c: float | None = None
    """The hottest sensor of the processor."""
    throttled: bool | None = None
    """Whether the processor or the device says that it holds itself back."""
    on_battery: bool | None = None


class Load(NamedTuple):
    """How long a model takes to be ready."""

    cold_s: float | None
    """Its files read from the disk. `None` where the system does not let us forget what it has in memory."""
    warm_s: float | None
    """Its files in memory already."""


class Series(NamedTuple):
    """All repetitions of one workload by one contender."""

    contender: Contender
    workload: Workload
    samples: tuple[Sample, ...]
    load: Load
    peak_bytes: int | None
    """Memory of the worker and what it started, at its most."""
    device_peak_bytes: int | None
    """Memory of the device that others than before the bench took, at its most; `None` without a counter."""
    bytes_per_token: int | None
    """Weights and cache that one generated token reads, by which the share of the bandwidth is told."""
    bandwidth_bytes_per_s: int | None = None
    """Of the memory that the weights lie in, measured or the maker's; `None` where it is unknown."""
    marks: tuple[str, ...] = ()
    """What makes its figures doubtful, in words for people: `the machine was busy (31 %)`."""


class Bench(NamedTuple):
    """One call of `lf bench`."""

    id: str
    machine: str
    """`measurements.find_key`'s."""
    machine_name: str
    """For people: processor, memory, devices."""
    system: str
    """Operating system and its version."""
    lf_version: str
    arguments: tuple[str, ...]
    before: Conditions
    after: Conditions
    energy_counter: str | None
    """`RAPL package-0`, `NVML`, ...; `None`: there is none that may be read."""
    series: tuple[Series, ...]
    complete: bool = True
    """False: it was interrupted, or a contender failed; what there is is whole."""
    failures: tuple[str, ...] = ()
    """What could not be measured, and why, in words for people."""
