"""Values to the JSON that programs rely on: stable keys, bytes and tokens as integers, unknown as `null`."""

from __future__ import annotations

from dataclasses import asdict
from json import loads
from typing import TYPE_CHECKING, Any

from localfirst.catalog.names import format_name
from localfirst.cli.views.revisions import history_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.conversation import Answer
    from localfirst.errors import LfError
    from localfirst.services.catalogue import Catalog
    from localfirst.services.check import Check
    from localfirst.services.engines import EngineTest
    from localfirst.services.files import Verified
    from localfirst.services.library import Part
    from localfirst.services.pins import PinCheck
    from localfirst.store.revisions import History
    from localfirst.store.verify import FileProblem
    from localfirst.types import InstalledModel, Machine, Model, Plan, Resolution, Runtime, Variant

Json = dict[str, Any]


def machine_to_json(machine: Machine) -> Json:
    """`lf hw --json`."""
    return {
        "platform": machine.platform,
        "cpu": machine.cpu._asdict(),
        "memory": machine.memory._asdict(),
        "devices": [device._asdict() for device in machine.devices],
        "container": machine.container,
        "wsl": machine.wsl,
        "disk_free_bytes": machine.disk_free_bytes,
        "warnings": list(machine.warnings),
    }


def machines_to_json(machines: Mapping[str, Machine]) -> Json:
    """`lf hw --profiles --json`."""
    return {"profiles": [{"name": name, **machine_to_json(machine)} for name, machine in machines.items()]}


def checks_to_json(checks: Sequence[Check]) -> Json:
    """`lf doctor --json`."""
    return {"checks": [asdict(check) for check in checks], "problems": sum(one.state == "problem" for one in checks)}


def catalogs_to_json(catalogs: Sequence[Catalog]) -> Json:
    """`lf catalog list --json`, and one catalog of `add` and `lint`."""
    return {
        "catalogs": [
            {
                "name": catalog.name,
                "path": str(catalog.path),
                "models": [model.name for model in catalog.models],
                "builds": sum(len(model.variants) for model in catalog.models),
                "mistakes": list(catalog.mistakes),
            }
            for catalog in catalogs
        ]
    }


def pin_checks_to_json(checks: Sequence[PinCheck]) -> Json:
    """`lf catalog check --json`."""
    return {
        "builds": [
            {
                "name": check.model.name,
                "variant": check.variant.name,
                "repo": check.variant.repo,
                "state": check.state,
                "findings": list(check.findings),
            }
            for check in checks
        ]
    }


def plan_to_json(plan: Plan) -> Json:
    """One candidate, as in `lf model list --json` and `lf model explain --json`."""
    return {
        "name": plan.model.name,
        "variant": plan.variant.name,
        "format": plan.variant.format,
        "quantization": plan.variant.quantization,
        "origin": plan.variant.origin,
        "tier": plan.variant.tier,
        "vendor": plan.model.vendor,
        "license": plan.model.license,
        "license_to_accept": plan.model.terms,
        "parameters": plan.model.parameters,
        "runtime": plan.runtime.name if plan.runtime else None,
        "backend": plan.runtime.backend if plan.runtime else None,
        "device": plan.placement,
        "device_name": plan.device_name,
        "verdict": plan.verdict,
        "size_bytes": plan.variant.size_bytes,
        "need_bytes": plan.need.total_bytes if plan.need else None,
        "free_bytes": plan.free_bytes,
        "context_tokens": plan.context_tokens,
        "kv_cache": plan.cache,
        "requests": plan.requests,
        "draft": name_draft(plan),
        "decode_tps": {
            "low": plan.speed.low_tps,
            "high": plan.speed.high_tps,
            "measured": plan.speed.measured_tps,
            "corrected": plan.speed.corrected,
        },
        "prefill_tps": {
            "low": plan.speed.prefill_low_tps,
            "high": plan.speed.prefill_high_tps,
            "measured": plan.speed.prefill_measured_tps,
        },
        "gated": plan.variant.gated,
        "state": find_state(plan),
        "revision": plan.revision,
        "reason": plan.reason,
    }


def name_draft(plan: Plan) -> str | None:
    """The build that drafts, as it may be typed."""
    return format_name(plan.draft.model, plan.draft.variant) if plan.draft else None


def find_state(plan: Plan) -> str:
    """Where the files of a plan are: `builtin` in this package, `installed` on this disk, or still `available`."""
    if plan.variant.host == "builtin":
        return "builtin"
    return "installed" if plan.installed else "available"


def plans_to_json(plans: Sequence[Plan]) -> Json:
    """`lf model list --json`."""
    return {"models": [plan_to_json(plan) for plan in plans]}


def resolution_to_json(resolution: Resolution) -> Json:
    """`lf model explain --json`."""
    return {
        "model": resolution.chosen.model.name,
        "chosen": plan_to_json(resolution.chosen),
        "rejected": [plan_to_json(plan) for plan in resolution.rejected],
    }


def model_to_json(
    model: Model, plans: Sequence[Plan], histories: Sequence[History], parts: Sequence[Part] = ()
) -> Json:
    """`lf model info --json`."""
    return {
        "name": model.name,
        "title": model.title,
        "vendor": model.vendor,
        "license": model.license,
        "license_url": model.license_url,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "task": model.task,
        "family": model.family,
        "aliases": list(model.aliases),
        "context_tokens": model.architecture.context_tokens,
        "variants": [_variant_to_json(variant) for variant in model.variants],
        "plans": [plan_to_json(plan) for plan in plans],
        "installed": [installed_to_json(history.current) | history_to_json(history) for history in histories],
        "partial": [{"variant": part.variant, "size_bytes": part.size_bytes} for part in parts],
    }


def _variant_to_json(variant: Variant) -> Json:
    return {
        "name": variant.name,
        "format": variant.format,
        "quantization": variant.quantization,
        "origin": variant.origin,
        "tier": variant.tier,
        "host": variant.host,
        "repo": variant.repo,
        "revision": variant.revision,
        "devices": list(variant.devices),
        "size_bytes": variant.size_bytes,
        "context_tokens": variant.context_tokens,
        "gated": variant.gated,
        "confidence": variant.confidence,
        "source": variant.source,
        "note": variant.note,
    }


def installed_to_json(model: InstalledModel) -> Json:
    """`lf model pull --json` and `lf model import --json`."""
    return model.to_record() | {"size_bytes": model.size_bytes}


def verified_to_json(verified: Sequence[Verified]) -> Json:
    """`lf model verify --json`."""
    return {
        "models": [
            {
                "name": one.model.name,
                "variant": one.model.variant,
                "files": len(one.model.files),
                "size_bytes": one.model.size_bytes,
                "problems": [_problem_to_json(one, problem) for problem in one.problems],
                "repaired": one.repaired,
                "remedy": one.remedy,
                "error": error_to_json(one.error)["error"] if one.error else None,
            }
            for one in verified
        ]
    }


def _problem_to_json(one: Verified, problem: FileProblem) -> Json:
    """What was wrong with a file; its detail and digest are told only where that is still so."""
    expected = next((file.sha256 for file in one.model.files if file.path == problem.path), None)
    return {
        "path": problem.path,
        "problem": problem.problem,
        "expected_sha256": expected,
        "found_sha256": None if one.repaired else problem.found_sha256,
        "detail": None if one.repaired else problem.detail,
    }


def removed_to_json(freed: Mapping[str, int]) -> Json:
    """`lf runtime remove --json`."""
    return {
        "removed": [{"runtime": name, "freed_bytes": freed_bytes} for name, freed_bytes in freed.items()],
        "freed_bytes": sum(freed.values()),
    }


def runtimes_to_json(runtimes: Sequence[Runtime]) -> Json:
    """`lf runtime list --json`."""
    return {"runtimes": [runtime._asdict() for runtime in runtimes]}


def tests_to_json(tests: Sequence[EngineTest]) -> Json:
    """`lf runtime test --json`."""
    return {
        "tests": [
            {
                "runtime": test.runtime.name,
                "passed": test.error is None,
                "engine": test.runtime.engine,
                "engine_version": test.engine_version,
                "build": test.build,
                "device": test.device,
                "load_s": test.load_s,
                "decode_tps": test.answer.timings.decode_tps if test.answer else None,
                "error": error_to_json(test.error)["error"] if test.error else None,
            }
            for test in tests
        ]
    }


def answer_to_json(plan: Plan, answer: Answer) -> Json:
    """`lf run MODEL PROMPT --json`."""
    return {
        "model": plan.model.name,
        "variant": plan.variant.name,
        "runtime": plan.runtime.name if plan.runtime else None,
        "device": None if plan.variant.host == "remote" else plan.placement,
        "draft": name_draft(plan),
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": loads(call.arguments_json)} for call in answer.tool_calls
        ],
        "finish_reason": answer.finish_reason,
        "usage": asdict(answer.usage),
        "timings": asdict(answer.timings),
    }


def error_to_json(error: LfError) -> Json:
    """The line on stderr under `--json`."""
    fields = {"code": error.code, "message": error.message, "detail": error.detail, "hint": error.hint}
    return {"error": fields}
