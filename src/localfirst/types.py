"""The values that the layers hand each other: what a machine is, what a model is, and what was decided.

Plain frozen data. Sizes are bytes (int), contexts are tokens (int), rates are per second (float).
Unknown is `None`, never 0 and never a guess. Named tuples, because every command pays for each class here: Python 3.11
defines one in a fifth of the time that a frozen dataclass takes, and makes a value of it in a third.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

DeviceKind = Literal["gpu", "igpu", "npu"]
Placement = Literal["cpu", "gpu", "igpu", "npu"]
"""Where a plan computes: the processor, or one of the machine's devices."""
Format = Literal["gguf", "onnx", "mlx", "openvino", "litertlm", "llamafile", "safetensors", "executorch", "remote"]
"""`remote`: no files at all, a server elsewhere."""
Origin = Literal["native", "qat", "vendor-ptq", "qat-derived", "community"]
"""How the low-bit weights came to be. `native`: trained so (BitNet, MXFP4). `qat-derived`: someone else's conversion of
a vendor's QAT checkpoint."""
Tier = Literal["vendor", "runtime-vendor", "platform", "community"]
"""Who published a build: the model's author, the engine's or chip's maker, a conversion platform, anyone else."""
Confidence = Literal["verified", "page", "memory"]
"""How well a catalog fact is known: two independent sources or the vendor itself, one public page, or recollection."""
Host = Literal["huggingface", "foundry", "builtin", "import", "remote"]
"""Where the files live: a Hugging Face hub, Microsoft's Foundry catalog, this package, the user's own folder; a server
elsewhere, which keeps them to itself."""
Recipe = Literal["i2_s-to-tq2_0"]
"""How a file that was fetched is made into one that an engine loads: on this machine, without loss."""
Verdict = Literal["gpu", "split", "cpu", "tight", "no"]
Task = Literal["chat", "embedding"]
"""What a model is loaded for: to answer, or to turn texts into vectors."""
Pooling = Literal["mean", "cls", "last"]
"""How the vectors of a text's tokens become one: their mean, the first token's, or the last one's."""


class Cpu(NamedTuple):
    """A processor as the operating system describes it."""

    name: str | None
    arch: str
    """`x86_64` or `arm64`, whatever the platform calls it."""
    cores_physical: int | None
    cores_logical: int | None
    cores_usable: int | None
    """Cores a worker may keep busy: physical (performance) cores within the affinity mask and the container's quota."""
    features: tuple[str, ...] = ()
    """Instruction sets by flag, never by model name: `avx2`, `avx512f`, `amx_int8`, `neon`, `dotprod`, ..."""


class Memory(NamedTuple):
    """Main memory. All are `None` where the machine does not say."""

    total_bytes: int | None
    available_bytes: int | None
    """Free for a new process now, already capped by `limit_bytes`."""
    limit_bytes: int | None
    """The smallest container (cgroup) limit that applies, or `None` for no limit."""
    bandwidth_bytes_per_s: int | None = None
    """What all cores together read, measured by `lf bench calibrate`; `None` where nobody did."""


class Device(NamedTuple):
    """A GPU or NPU."""

    kind: DeviceKind
    vendor: str
    name: str
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    unified: bool = False
    """Shares the machine's main memory: one pool, never to be added to it."""
    usable: bool = True
    reason: str | None = None
    """Why it is not usable, or a remark on how its memory was found."""
    driver: str | None = None
    compute_capability: str | None = None
    bandwidth_bytes_per_s: int | None = None


class Machine(NamedTuple):
    """What the probe found."""

    platform: str
    """As `sys.platform`: `linux`, `darwin`, `win32`."""
    cpu: Cpu
    memory: Memory
    devices: tuple[Device, ...] = ()
    container: str | None = None
    wsl: bool = False
    disk_free_bytes: int | None = None
    warnings: tuple[str, ...] = ()


class KvGroup(NamedTuple):
    """Layers that keep the same amount of key/value cache per token."""

    layers: int
    kv_heads: int
    head_dim: int
    window_tokens: int | None = None
    """Sliding window of these layers, or `None` where they attend to the whole context."""


class RecurrentGroup(NamedTuple):
    """Recurrent layers that keep the same fixed state, however long the text. Sizes are in elements."""

    layers: int
    inner_size: int
    """Width of what the layer mixes: of a short convolution, the hidden size."""
    state_size: int = 0
    """State per element of the width; 0 where a layer only remembers its convolution."""
    groups: int = 1
    conv_kernel: int = 4
    """Tokens that its convolution spans."""


class Architecture(NamedTuple):
    """The numbers that memory and speed are computed from. Any of them may be unknown."""

    layers: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    vocab_size: int | None = None
    context_tokens: int | None = None
    kv_groups: tuple[KvGroup, ...] = ()
    recurrent_groups: tuple[RecurrentGroup, ...] = ()
    feed_forward_size: int | None = None
    """Width of the feed-forward layer that one token passes; in a mixture of experts, of all experts used together."""
    tied: bool | None = None
    """Whether the output layer is the embedding."""


class ModelFile(NamedTuple):
    """One file of a variant. `path` is relative to the repository, with `/`; a glob where the name is not pinned."""

    path: str
    size_bytes: int | None = None
    sha256: str | None = None


class Variant(NamedTuple):
    """One downloadable build of a model."""

    name: str
    """Unique within its model; what `@quant` selects, e.g. `q4_0` or `int4-cpu`."""
    format: Format
    quantization: str
    origin: Origin
    tier: Tier
    host: Host
    repo: str
    revision: str | None
    files: tuple[ModelFile, ...]
    devices: tuple[str, ...]
    """What its publisher made it for: `cpu`, `cuda`, `metal`, `vulkan`, `rocm`, `openvino-npu`, `webgpu`, ..."""
    size_bytes: int | None
    """Bytes to download; the sum of the files where all are known, else the publisher's figure."""
    gated: bool
    confidence: Confidence
    source: str
    context_tokens: int | None = None
    """A shorter context than the model's own, for builds that fix one (NPU graphs)."""
    note: str | None = None
    bits_per_weight: float | None = None
    recipe: Recipe | None = None
    """How its one file is made into one that an engine loads; only for files whose digest the catalog has."""


class Model(NamedTuple):
    """An entry of the catalog."""

    name: str
    title: str
    vendor: str
    parameters: int | None
    active_parameters: int | None
    """Parameters used per token in a mixture of experts; `None` for dense models."""
    task: str
    """`chat`, `embedding`, `vision-chat`, ..."""
    license: str
    license_url: str | None
    family: str
    size: str | None
    """The part of the name that `family:size` selects, e.g. `4b`."""
    aliases: tuple[str, ...]
    architecture: Architecture
    variants: tuple[Variant, ...]
    temperature: float | None = None
    """What its publisher recommends; `None` where nobody said."""
    terms: bool = False
    """Its licence limits what may be done with it, so that the user has to accept it, and has not yet."""
    organisations: tuple[str, ...] = ()
    """The vendor's own on huggingface.co."""
    draft: str | None = None
    """The model that its vendor made to draft for it, by name."""


class ModelName(NamedTuple):
    """A model name as typed, taken apart by `catalog.names`. Exactly one of `name`, `repo`, `path` is set."""

    name: str | None = None
    size: str | None = None
    quantization: str | None = None
    backend: str | None = None
    repo: str | None = None
    file: str | None = None
    revision: str | None = None
    path: str | None = None
    organisation: str | None = None
    """Typed before a catalog's name as a hub writes it: `google` in `google/gemma-3-4b-it`."""
    device: str | None = None
    """The kind of device that a Foundry Local id names: `cpu`, `gpu` or `npu`."""


RuntimeState = Literal[
    "installed", "importable", "external", "brought", "misnamed", "installable", "offered", "unavailable"
]
"""`brought`: each model is its own program. `misnamed`: a variable of the user's names what is none, and whoever wants
this runtime is told. `offered`: it is installed only when the user names it; nothing chooses it before."""


class Runtime(NamedTuple):
    """An engine build as it stands on this machine: what it can load, and whether it is there."""

    name: str
    """`llama-cpu`, `onnx-cpu`, ..."""
    backend: str
    """The adapter that drives it: `xllamacpp`, `onnx`, ..."""
    engine: str
    version: str
    formats: tuple[Format, ...]
    placement: Placement
    variant_devices: tuple[str, ...]
    """Which of `Variant.devices` this build serves, e.g. `("cpu",)`."""
    state: RuntimeState
    reason: str | None = None
    """Why it is not here; of one that is only offered, what it is."""
    download_bytes: int | None = None
    installed_bytes: int | None = None
    python: str | None = None
    """The interpreter that can import the engine, where there is one."""
    min_driver: float | None = None
    """The oldest driver of the device that the build works with."""
    min_compute_capability: float | None = None
    on_demand: bool = False
    """Nothing chooses it before the user has installed it by name."""
    sees: tuple[str, ...] | None = None
    """What its engine calls the devices that it sees; `None` where it was not asked."""
    program: str | None = None
    """The program that serves, for an engine that is one; it need not be there for a model that is its own program."""


class Need(NamedTuple):
    """Memory that a plan needs, in bytes, by term."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    runtime_bytes: int
    draft_bytes: int = 0
    """All of a model that drafts for it."""

    @property
    def total_bytes(self) -> int:
        """The sum of all terms."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.runtime_bytes + self.draft_bytes


class Speed(NamedTuple):
    """Tokens per second of decoding, and of reading a prompt (`prefill`): measured where it was, else a range."""

    low_tps: float | None = None
    high_tps: float | None = None
    measured_tps: float | None = None
    prefill_low_tps: float | None = None
    prefill_high_tps: float | None = None
    prefill_measured_tps: float | None = None
    corrected: bool = False
    """Whether the range follows from what this machine reached with other models, not from assumptions alone."""


class Rates(NamedTuple):
    """What runs on this machine reached, in tokens per second. `None`: no prompt was long enough to tell."""

    decode_tps: float
    prefill_tps: float | None = None
    bytes_per_token: int | None = None
    """Of weights, that a token reads; `None` where nobody kept it."""
    layers: int | None = None
    """That a token passes; the same."""


CacheType = Literal["f16", "q8_0", "q4_0"]
"""How keys and values are kept: in 16 bits, or quantized as llama.cpp does, in 8.5 or 4.5 bits."""


class Parallel(NamedTuple):
    """How an engine spreads a model over devices and machines, where it can: by options of its own."""

    tensor: int = 1
    """Devices that share the work of each layer."""
    pipeline: int = 1
    """Groups of devices that have some layers each."""
    ray: str | None = None
    """Address of a running Ray cluster to spread over."""


ALONE = Parallel()
"""On one device of one machine."""


class Draft(NamedTuple):
    """A build that guesses the next tokens for a larger model of the same vocabulary, which checks them."""

    model: Model
    variant: Variant


class Plan(NamedTuple):
    """The answer for one candidate (variant, runtime, device): how it would run here, and why it won or lost."""

    model: Model
    variant: Variant
    runtime: Runtime | None
    placement: Placement
    device_name: str | None
    context_tokens: int | None
    need: Need | None
    free_bytes: int | None
    verdict: Verdict
    speed: Speed
    installed: bool
    reason: str
    """For the winner, the rules that put it first; for a loser, the rule that put it behind."""
    device_layers: int | None = None
    """How many of the model's layers are computed on the device, where the CPU computes the others; `None`: all."""
    cache: CacheType = "f16"
    """How keys and values are kept."""
    requests: int = 1
    """Requests that are answered at the same time, each with the whole context; the others wait."""
    draft: Draft | None = None
    """What drafts for it; `None`: nothing does."""
    revision: str | None = None
    """The commit of the files that are on this disk; `None` where none are, or they have none."""
    keeper: str | None = None
    """Whose the files on this disk are, where they are not the store's (see `InstalledModel`)."""
    gone: bool = False
    """They were another tool's, which has deleted them."""


class Resolution(NamedTuple):
    """The chosen plan with every candidate that lost."""

    chosen: Plan
    rejected: tuple[Plan, ...]


MIN_TPS_DEFAULT = 1.0
"""Tokens per second below which nobody waits for an answer, where nothing else was asked for."""


class Wanted(NamedTuple):
    """What the user asked for; `None` leaves the choice to the resolver."""

    context_tokens: int | None = None
    device: str | None = None
    """`cpu`, `gpu`, `npu`: a demand. `auto` is none, whatever the model's name says; `None` leaves it to that."""
    backend: str | None = None
    quantization: str | None = None
    min_tps: float = MIN_TPS_DEFAULT
    tier: Tier | None = None
    """Published by this tier or a better one."""
    cache: CacheType = "f16"
    """How to keep keys and values; anything but 16 bits is a demand."""
    parallel: Parallel = ALONE
    """How to spread over devices and machines; anything but one is a demand that few engines meet."""
    task: Task | None = None
    """What to load it for; `None`: what the model is for."""
    pooling: Pooling | None = None
    """How to make one vector of a text, where that is not left to the model's files."""
    requests: int = 1
    """Requests to answer at the same time, where the engine can and the memory is there; the others wait."""
    draft: Draft | None = None
    """What is to draft: a demand."""
    threads: int | None = None
    """To compute with; `None`: as many as the processor and its load allow."""


class InstalledFile(NamedTuple):
    """One file of an installed model. `path` is relative to the model's root, with `/`."""

    path: str
    size_bytes: int
    sha256: str


class Derived(NamedTuple):
    """A file that was made on this machine from a model's own, which can be made again and never leaves it."""

    path: str
    """Relative to the folder of such files beside the model's own."""
    size_bytes: int
    sha256: str
    from_sha256: str
    """The digest of the file that it was made of."""
    recipe: Recipe
    recipe_version: int


def format_build(name: str, variant: str) -> str:
    """A build by the names of its model and its own, as it may be typed: `phi-4-mini@int4-cpu`, `hf:org/repo:q4@main`.

    After a repository's name an `@` means a revision.
    """
    if not name.startswith("hf:"):
        return f"{name}@{variant}"
    repo, at, revision = name.partition("@")
    return f"{repo}:{variant}{at}{revision}"


class Making(NamedTuple):
    """How a build was made on this machine: what it takes to make it again."""

    tool: str
    version: str
    precision: str
    device: str
    """What it was made for, as the tool calls it: `cpu`, `cuda`, ..."""
    options: tuple[str, ...]
    """More words that the tool was given, as `KEY=VALUE`."""
    source: str
    """`hf:org/repo@commit`, or the folder."""
    files: tuple[InstalledFile, ...]
    """The source's files."""

    def to_record(self) -> dict[str, object]:
        """Its fields by name, those of its files too."""
        return self._asdict() | {"options": list(self.options), "files": [file._asdict() for file in self.files]}


class InstalledModel(NamedTuple):
    """A model on this disk: what its manifest says."""

    name: str
    """Catalog name, or the name given on import, or `hf:org/repo[:file]`."""
    variant: str
    format: Format
    quantization: str | None
    host: Host
    repo: str | None
    revision: str | None
    root: str
    """Absolute path of the folder that the files' paths start from."""
    files: tuple[InstalledFile, ...]
    created: str
    """ISO 8601, UTC."""
    title: str | None = None
    keeper: str | None = None
    """Whose files these are, where they lie outside the store: `you`, or the tool that fetched them (`ollama`, ...).
    They are never written and never removed; `None`: the store's own."""
    shared: str | None = None
    """The store of others that it was found in (`LF_SHARED_STORES`), which is never written; `None`: one's own."""
    license: str | None = None
    """As its catalog or its hub named it; `None`: neither did, or an older version of this program wrote the record."""
    derived: Derived | None = None
    """What was made of it, where no engine loads it as it is."""
    recipe: Making | None = None
    """Where it was made here, of another model's files."""

    @property
    def size_bytes(self) -> int:
        """The sum of its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def full_name(self) -> str:
        """Its name, as it may be typed; of an import there is one build."""
        return self.name if self.host == "import" else format_build(self.name, self.variant)

    def to_record(self) -> dict[str, object]:
        """Its fields by name, those of its files too: what JSON takes."""
        more = {
            "files": [file._asdict() for file in self.files],
            "derived": self.derived._asdict() if self.derived else None,
            "recipe": self.recipe.to_record() if self.recipe else None,
        }
        return self._asdict() | more


class FileProgress(NamedTuple):
    """How far one file of a long step is, in bytes; `None` for what is unknown."""

    path: str
    done: int
    total: int | None = None
    number: int | None = None
    """Which of the files it is, from 1."""
    of: int | None = None
    """How many files there are."""


class Progress(NamedTuple):
    """How far a long step is, for whoever draws it. `total` and `rate_per_s` are `None` while unknown."""

    what: str
    done: int
    total: int | None = None
    rate_per_s: float | None = None
    """Only of what is being done now: bytes that were there already do not count."""
    detail: Mapping[str, str] = MappingProxyType({})
    """Words: a `notice`, the `cause` of another try, the last `line` of a program."""
    file: FileProgress | None = None
    """The file that is on its way."""
    retries: int = 0
    """How often something was tried again."""
    wait_s: float | None = None
    """With a notice that is over when the step goes on: the seconds until it does, 0 where nobody knows."""
