"""The tables of the file of measurements, and how a file of each earlier version becomes one of the next.

`docs/bench.md` explains them to people who ask them questions of their own.
"""

from __future__ import annotations

_RUN = """
create table run (
    machine, model, variant, runtime, engine_version, device, context_tokens, prompt_tokens, completion_tokens,
    load_s, prefill_tps, decode_tps, at
)"""
_RUN_INDEX = "create index build on run (machine, model, variant, runtime)"

_BENCH = """
create table bench (
    number integer primary key,
    id text not null unique,
    machine text not null,
    machine_name text not null,
    system text not null,
    lf_version text not null,
    arguments text not null,
    energy_counter text,
    complete integer not null
)"""
_CONDITIONS = """
create table conditions (
    bench integer not null references bench,
    moment text not null check (moment in ('before', 'after')),
    at text not null,
    load_average real,
    busy_share real,
    governor text,
    frequency_hz integer,
    temperature_c real,
    throttled integer,
    on_battery integer,
    primary key (bench, moment)
) without rowid"""
_FAILURE = """
create table failure (
    bench integer not null references bench,
    position integer not null,
    words text not null,
    primary key (bench, position)
) without rowid"""
_CONTENDER = """
create table contender (
    number integer primary key,
    model text not null,
    variant text,
    quantization text,
    format text not null,
    size_bytes integer,
    digest text,
    runtime text not null,
    engine text not null,
    engine_version text not null,
    build text,
    device text not null,
    placement text not null,
    driver text,
    context_tokens integer,
    threads integer,
    cache text not null,
    batch_tokens integer
)"""
_WORKLOAD = """
create table workload (
    number integer primary key,
    name text not null,
    prompt_tokens integer not null,
    generated_tokens integer not null,
    depth_tokens integer not null,
    concurrency integer not null,
    scenario text
)"""
_SERIES = """
create table series (
    number integer primary key,
    bench integer not null references bench,
    position integer not null,
    contender integer not null references contender,
    workload integer not null references workload,
    cold_s real,
    warm_s real,
    peak_bytes integer,
    device_peak_bytes integer,
    bytes_per_token integer,
    bandwidth_bytes_per_s integer,
    unique (bench, position)
)"""
_MARK = """
create table mark (
    series integer not null references series,
    position integer not null,
    words text not null,
    primary key (series, position)
) without rowid"""
_SAMPLE = """
create table sample (
    number integer primary key,
    series integer not null references series,
    position integer not null,
    wall_s real not null,
    prefill_tps real,
    decode_tps real,
    prompt_tokens integer not null,
    cached_tokens integer not null,
    completion_tokens integer not null,
    energy_j real,
    unique (series, position)
)"""
_FIRST = """
create table first_token (
    sample integer not null references sample,
    position integer not null,
    seconds real not null,
    primary key (sample, position)
) without rowid"""
_GAPS = """
create table gap (
    sample integer not null references sample,
    position integer not null,
    seconds real not null,
    primary key (sample, position)
) without rowid"""
_MEASURED = """
create view measured as
    select
        bench.id as bench, conditions.at, bench.machine, bench.machine_name, bench.lf_version,
        contender.model, contender.variant, contender.quantization, contender.runtime, contender.engine_version,
        contender.placement, contender.threads, contender.context_tokens, contender.cache,
        workload.name as workload, workload.prompt_tokens as asked_prompt_tokens, workload.generated_tokens,
        workload.depth_tokens, workload.concurrency,
        sample.position as repetition, sample.wall_s, sample.prefill_tps, sample.decode_tps,
        (select avg(seconds) from first_token where first_token.sample = sample.number) as first_token_s,
        sample.energy_j, series.peak_bytes,
        exists (select * from mark where mark.series = series.number) as marked
    from sample
    join series on series.number = sample.series
    join bench on bench.number = series.bench
    join conditions on conditions.bench = bench.number and conditions.moment = 'before'
    join contender on contender.number = series.contender
    join workload on workload.number = series.workload
    order by bench.number, series.position, sample.position"""

_QUALITY = """
create table quality (
    number integer primary key,
    at text not null,
    machine text not null,
    machine_name text not null,
    system text not null,
    lf_version text not null,
    arguments text not null,
    text text not null,
    text_sha256 text not null,
    whole integer not null,
    complete integer not null
)"""
_QUALITY_ROW = """
create table quality_row (
    quality integer not null references quality,
    position integer not null,
    contender integer not null references contender,
    is_reference integer not null,
    partial integer not null,
    tokens integer not null,
    cost real not null,
    cost_error real,
    loss real,
    loss_error real,
    kl real,
    kl_error real,
    same_best real,
    same_best_error real,
    kl_told real,
    primary key (quality, position)
) without rowid"""
_QUALITY_FAILURE = """
create table quality_failure (
    quality integer not null references quality,
    position integer not null,
    words text not null,
    primary key (quality, position)
) without rowid"""

STEPS = (
    (_RUN, _RUN_INDEX),
    (
        "alter table run add column bytes_per_token integer",
        *(_BENCH, _CONDITIONS, _FAILURE, _CONTENDER, _WORKLOAD, _SERIES, _MARK),
        *(_SAMPLE, _FIRST, _GAPS, _MEASURED),
    ),
    ("alter table run add column layers integer",),
    (_QUALITY, _QUALITY_ROW, _QUALITY_FAILURE),
)
"""What makes a file of version 1 of an empty one, a file of version 2 of that, and so on: rows stay."""
BENCHES_SINCE, QUALITIES_SINCE = 2, 4
"""The versions from which on there are these tables."""
VERSION = len(STEPS)
"""Kept in the file's `user_version`."""
