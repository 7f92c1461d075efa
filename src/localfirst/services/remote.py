"""A model in a server elsewhere, or in one that somebody else started here: what stands in for a plan."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from localfirst.errors import UsageError
from localfirst.types import Architecture, Model, Plan, Runtime, Speed, Variant, Wanted
from localfirst.worker import protocol

KEY = "LF_REMOTE_KEY"
"""The variable with what the server wants to be shown. It goes to the address that the user names, and nowhere else."""
PLAIN = Wanted()


def refuse(wanted: Wanted) -> None:
    """Refuse demands that only whoever started the server could meet.

    Raises:
        UsageError: there is one; it is named.
    """
    options = {
        "--ctx": wanted.context_tokens is not None,
        "--device": wanted.device not in {None, "auto"},
        "--backend": wanted.backend is not None,
        "--quant": wanted.quantization is not None,
        "--tier": wanted.tier is not None,
        "--min-tps": wanted.min_tps != PLAIN.min_tps,
        "--pooling": wanted.pooling is not None,
        "--kv-cache": wanted.cache != PLAIN.cache,
        "--tensor-parallel, --pipeline-parallel or --ray": wanted.parallel != PLAIN.parallel,
    }
    for name, asked in options.items():
        if asked:
            raise UsageError(f"A server elsewhere runs as it was started: it has no `{name}`", hint="Leave it out")


def make_load(address: str, model: str | None, wanted: Wanted) -> protocol.Load:
    """What a worker is asked for."""
    return protocol.Load(
        backend="remote",
        main=address,
        context_tokens=wanted.context_tokens,
        threads=1,
        placement="cpu",
        key=os.environ.get(KEY) or None,
        model=model,
    )


def make_plan(name: str, address: str, model: str | None) -> Plan:
    """A plan in which everything that only the server knows is unknown."""
    host = urlsplit(address).hostname or address
    variant = Variant(
        name=model or "served",
        format="remote",
        quantization="unknown",
        origin="community",
        tier="community",
        host="remote",
        repo=address,
        revision=None,
        files=(),
        devices=(),
        size_bytes=None,
        gated=False,
        confidence="memory",
        source="named by its user",
    )
    described = Model(
        name=name,
        title=f"{model or 'the model'} at {host}",
        vendor=host,
        parameters=None,
        active_parameters=None,
        task="chat",
        license="unknown",
        license_url=None,
        family=name,
        size=None,
        aliases=(),
        architecture=Architecture(),
        variants=(variant,),
    )
    runtime = Runtime("remote", "remote", host, "unknown", ("remote",), "cpu", (), "external")
    return Plan(
        model=described,
        variant=variant,
        runtime=runtime,
        placement="cpu",
        device_name=host,
        context_tokens=None,
        need=None,
        free_bytes=None,
        verdict="cpu",
        speed=Speed(),
        installed=True,
        reason="you named it",
    )
