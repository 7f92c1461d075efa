"""The keys of a catalog and what the value of each has to be, as the top of `catalog.yaml` explains them."""

from __future__ import annotations

from typing import get_args

from localfirst.catalog import schema
from localfirst.catalog.rules import FORMAT_ENGINES
from localfirst.catalog.schema import Field
from localfirst.types import Confidence, Origin, Recipe, Tier

TASKS = ("chat", "vision-chat", "embedding")
HOSTS = ("huggingface", "foundry", "builtin")
MODEL_FILE = {
    "path": Field(schema.check_path),
    "bytes": Field(schema.check_count, None),
    "sha256": Field(schema.make_hex_check(64), None),
}
KV_GROUP = {
    "layers": Field(schema.check_count),
    "kv_heads": Field(schema.check_count),
    "head_dim": Field(schema.check_count),
    "window": Field(schema.check_count, None),
}
RECURRENT_GROUP = {
    "layers": Field(schema.check_count),
    "inner_size": Field(schema.check_count),
    "state_size": Field(schema.check_count, 0),
    "groups": Field(schema.check_count, 1),
    "conv_kernel": Field(schema.check_count, 4),
}
ARCHITECTURE = {
    "layers": Field(schema.check_count, None),
    "hidden_size": Field(schema.check_count, None),
    "heads": Field(schema.check_count, None),
    "vocab_size": Field(schema.check_count, None),
    "context": Field(schema.check_count, None),
    "kv_groups": Field(schema.check_list, ()),
    "recurrent_groups": Field(schema.check_list, ()),
    "tied": Field(schema.check_flag, None),
    "source": Field(schema.check_text_or_texts),
}
VARIANT = {
    "name": Field(schema.check_name),
    "format": Field(schema.make_choice_check(tuple(FORMAT_ENGINES))),
    "quantization": Field(schema.check_text),
    "origin": Field(schema.make_choice_check(get_args(Origin))),
    "tier": Field(schema.make_choice_check(get_args(Tier))),
    "host": Field(schema.make_choice_check(HOSTS), "huggingface"),
    "repo": Field(schema.check_text),
    "revision": Field(schema.make_hex_check(40), None),
    "files": Field(schema.check_list, ()),
    "devices": Field(schema.check_texts),
    "size": Field(schema.check_count, None),
    "context": Field(schema.check_count, None),
    "gated": Field(schema.check_flag, False),
    "confidence": Field(schema.make_choice_check(get_args(Confidence))),
    "source": Field(schema.check_text_or_texts),
    "note": Field(schema.check_text, None),
    "recipe": Field(schema.make_choice_check(get_args(Recipe)), None),
}
MODEL = {
    "name": Field(schema.check_name),
    "title": Field(schema.check_text),
    "vendor": Field(schema.check_text),
    "family": Field(schema.check_name),
    "size": Field(schema.check_name, None),
    "aliases": Field(schema.check_texts, ()),
    "task": Field(schema.make_choice_check(TASKS), "chat"),
    "license": Field(schema.check_text),
    "parameters": Field(schema.check_count, None),
    "active_parameters": Field(schema.check_count, None),
    "temperature": Field(schema.check_temperature, None),
    "draft": Field(lambda value: value, None),
    "architecture": Field(lambda value: value, None),
    "variants": Field(schema.check_list),
}
DRAFT = {"model": Field(schema.check_text), "source": Field(schema.check_text_or_texts)}
DOCUMENT = {
    "sources": Field(lambda value: value),
    "licenses": Field(lambda value: value),
    "terms": Field(schema.check_texts, ()),
    "vendors": Field(lambda value: value),
    "models": Field(schema.check_list),
}
