"""Whether a build is what a user asks for, whatever the machine: by its name, its publisher, its engine, its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.catalog.rules import BACKEND_FAMILIES, CHAT_TASKS, TIERS, is_to_embed, needs_recipe

if TYPE_CHECKING:
    from localfirst.types import Model, Runtime, Tier, Variant, Wanted


def is_quantization(variant: Variant, name: str | None) -> bool:
    """Whether `@name` selects this variant, by its name or its quantization; no name selects all."""
    return name is None or name.lower() in {variant.name.lower(), variant.quantization.lower()}


def is_tier(variant: Variant, least: Tier | None) -> bool:
    """Whether a variant is published by a tier or a better one."""
    if least is None:
        return True
    ranks = list(TIERS)
    return ranks.index(variant.tier) <= ranks.index(least)


def is_backend(runtime: Runtime, name: str) -> bool:
    """Whether `#name` selects this runtime: by backend, by family of backends, or by its own name."""
    word = name.lower()
    return word in {runtime.backend, runtime.name} or runtime.backend in BACKEND_FAMILIES.get(word, ())


def explain_source(model: Model, variant: Variant, wanted: Wanted) -> str | None:
    """Why a variant is not to be had or not to be run, whatever the engine."""
    if problem := explain_task(model, wanted):
        return problem
    if variant.host == "foundry":
        return "published only in Foundry Local's catalog, from which lf does not download"
    if variant.recipe is None and needs_recipe(variant.quantization):
        return (
            f"{variant.quantization} is packed in several ways, and nothing in a file tells which way; "
            "lf loads the files that its catalog knows by their digest"
        )
    return None


def explain_task(model: Model, wanted: Wanted) -> str | None:
    """Why a model is not for what it is wanted for, where that is known before its files are here.

    A pooling that is named makes vectors of any model. What a hub says of a repository may be wrong, or not be there:
    of those the files tell.
    """
    embeds_itself = model.task not in CHAT_TASKS
    if embeds_itself and wanted.task == "chat":
        article = "an" if model.task[:1] in "aeiou" else "a"
        return f"{article} {model.task} model cannot be run as a chat"
    if is_to_embed(model, wanted) and not (embeds_itself or wanted.pooling or model.name.startswith("hf:")):
        return f"a {model.task} model is no embedding model"
    return None
