from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.catalog.parse import parse_catalog
from localfirst.catalog.rows import from_json, to_json
from localfirst.errors import CatalogError
from localfirst.types import Architecture, KvGroup, Model, ModelFile, Variant

SHA = "ab" * 32
REVISION = "cd" * 20
CATALOG = f"""\
sources:
  page: a public page
  list: a public list
licenses:
  mit: https://opensource.org/license/mit
vendors:
  Acme: [acme]
models:
  - name: tiny-1b
    title: Tiny 1B
    vendor: Acme
    family: tiny
    size: 1b
    aliases: [tiny-1b-instruct]
    license: mit
    parameters: 1000
    architecture:
      {{layers: 4, hidden_size: 64, heads: 4, vocab_size: 99, context: 2048,
       kv_groups: [{{layers: 3, kv_heads: 1, head_dim: 16, window: 512}}, {{layers: 1, kv_heads: 1, head_dim: 16}}],
       source: page}}
    variants:
      - name: q4_0
        format: gguf
        quantization: Q4_0
        origin: qat
        tier: vendor
        repo: acme/tiny-GGUF
        revision: {REVISION}
        devices: [cpu, cuda]
        files:
          - {{path: tiny.gguf, bytes: 600, sha256: {SHA}}}
          - {{path: more.gguf, bytes: 25}}
        gated: true
        confidence: verified
        source: [page, list]
      - name: int4-cpu
        format: onnx
        quantization: int4
        origin: vendor-ptq
        tier: runtime-vendor
        repo: onnx/tiny
        devices: [cpu]
        files: [{{path: "cpu/*"}}]
        size: 700
        context: 1024
        confidence: page
        source: page
        note: a note
  - name: plain
    title: Plain
    vendor: Acme
    family: plain
    license: mit
    variants:
      - {{name: foundry-cpu, format: onnx, quantization: int4, origin: vendor-ptq, tier: vendor, host: foundry,
         repo: "plain-generic-cpu:2", devices: [cpu], confidence: page, source: page}}
"""


def test_every_key_reaches_its_place() -> None:
    tiny, plain = parse_catalog(CATALOG)
    assert tiny == Model(
        name="tiny-1b",
        title="Tiny 1B",
        vendor="Acme",
        parameters=1000,
        active_parameters=None,
        task="chat",
        license="mit",
        license_url="https://opensource.org/license/mit",
        family="tiny",
        size="1b",
        aliases=("tiny-1b-instruct",),
        architecture=Architecture(4, 64, 4, 99, 2048, (KvGroup(3, 1, 16, 512), KvGroup(1, 1, 16))),
        variants=(
            Variant(
                name="q4_0",
                format="gguf",
                quantization="Q4_0",
                origin="qat",
                tier="vendor",
                host="huggingface",
                repo="acme/tiny-GGUF",
                revision=REVISION,
                files=(ModelFile("tiny.gguf", 600, SHA), ModelFile("more.gguf", 25)),
                devices=("cpu", "cuda"),
                size_bytes=625,
                gated=True,
                confidence="verified",
                source="a public page; a public list",
                bits_per_weight=5.0,
            ),
            Variant(
                name="int4-cpu",
                format="onnx",
                quantization="int4",
                origin="vendor-ptq",
                tier="runtime-vendor",
                host="huggingface",
                repo="onnx/tiny",
                revision=None,
                files=(ModelFile("cpu/*"),),
                devices=("cpu",),
                size_bytes=700,
                gated=False,
                confidence="page",
                source="a public page",
                context_tokens=1024,
                note="a note",
                bits_per_weight=5.6,
            ),
        ),
        organisations=("acme",),
    )
    assert plain.architecture == Architecture()
    assert (plain.parameters, plain.size, plain.aliases, plain.variants[0].files) == (None, None, (), ())
    assert (plain.variants[0].host, plain.variants[0].size_bytes) == ("foundry", None)


MISTAKES = {
    "unknown key": (
        "        gated: true",
        "        gatted: true",
        "catalog.yaml line 33: model `tiny-1b`, variant `q4_0`: unknown key `gatted`; did you mean `gated`?",
    ),
    "unknown key of a file": (
        "bytes: 25",
        "size: 25",
        "catalog.yaml line 32: model `tiny-1b`, variant `q4_0`: unknown key `size`",
    ),
    "missing key": (
        "        quantization: Q4_0\n",
        "",
        "catalog.yaml line 22: model `tiny-1b`, variant `q4_0`: `quantization` is missing",
    ),
    "missing model key": ("    title: Plain\n", "", "catalog.yaml line 49: model `plain`: `title` is missing"),
    "missing table": ("licenses:\n  mit: https://opensource.org/license/mit\n", "", "line 1: `licenses` is missing"),
    "short digest": (
        f"sha256: {SHA}",
        "sha256: xyz",
        "catalog.yaml line 31: model `tiny-1b`, variant `q4_0`: `sha256` must be 64 hex digits, found `xyz`",
    ),
    "digest in capitals": (
        f"sha256: {SHA}",
        f"sha256: {SHA.upper()}",
        f"`sha256` must be 64 hex digits, found `{SHA.upper()[:60]}...`",
    ),
    "short revision": (f"revision: {REVISION}", "revision: main", "`revision` must be 40 hex digits, found `main`"),
    "unknown format": (
        "format: gguf",
        "format: ggml",
        "`format` must be one of gguf, onnx, mlx, openvino, litertlm, llamafile, safetensors, executorch, found `ggml`",
    ),
    "absolute path": ("path: tiny.gguf", "path: /tiny.gguf", "line 31: "),
    "path that climbs": (
        "path: tiny.gguf",
        "path: a/../../tiny.gguf",
        "`path` must be a relative path with `/` and without `..`, found `a/../../tiny.gguf`",
    ),
    "path with a backslash": ("path: tiny.gguf", "path: 'a\\b.gguf'", "`path` must be a relative path"),
    "path with a drive": ("path: tiny.gguf", "path: 'C:b.gguf'", "`path` must be a relative path"),
    "path with an empty part": ("path: tiny.gguf", "path: a//b.gguf", "`path` must be a relative path"),
    "pattern with a digest": (
        "path: tiny.gguf",
        'path: "*.gguf"',
        "line 31: model `tiny-1b`, variant `q4_0`: a pattern is no single file: it has no `bytes` and no `sha256`",
    ),
    "same path twice": ("path: more.gguf", "path: Tiny.gguf", "line 32: model `tiny-1b`, variant `q4_0`: `path` is "),
    "bytes in words": ("bytes: 25", "bytes: 25 MB", "`bytes` must be a positive whole number, found `25 MB`"),
    "bytes of truth": ("bytes: 25", "bytes: true", "`bytes` must be a positive whole number, found `True`"),
    "no bytes": ("bytes: 25", "bytes: 0", "`bytes` must be a positive whole number, found `0`"),
    "size that is not the sum": (
        "        gated: true",
        "        size: 626",
        "line 33: model `tiny-1b`, variant `q4_0`: `size` is 626, but the files are 625 bytes together",
    ),
    "recipe for several files": (
        "        gated: true",
        "        recipe: i2_s-to-tq2_0",
        "line 33: model `tiny-1b`, variant `q4_0`: `recipe` is for a build of one file with its `sha256`",
    ),
    "recipe that nobody knows": (
        "        gated: true",
        "        recipe: magic",
        "`recipe` must be one of i2_s-to-tq2_0, found `magic`",
    ),
    "flag in words": ("gated: true", "gated: manual", "`gated` must be true or false, found `manual`"),
    "text that is a number": ("title: Plain", "title: 5", "`title` must be one line of text, found `5`"),
    "text of two lines": ("title: Plain", 'title: "a\\nb"', "`title` must be one line of text, found"),
    "nothing": ("title: Plain", "title:", "`title` must be one line of text, found nothing"),
    "name in capitals": (
        "- name: plain",
        "- name: Plain",
        "line 49: model `Plain`: `name` must be lower-case letters and digits joined by `-`, `.` or `_`, found `Plain`",
    ),
    "model twice": (
        "- name: plain",
        "- name: tiny-1b",
        "line 49: model `tiny-1b`: the name `tiny-1b` already means `tiny-1b`",
    ),
    "alias of another": (
        "    family: plain",
        "    family: plain\n    aliases: [Tiny_1B_Instruct]",
        "line 53: model `plain`: the name `Tiny_1B_Instruct` already means `tiny-1b`",
    ),
    "family and size of another": (
        "    family: plain",
        "    family: tiny\n    size: 1b",
        "line 53: model `plain`: the name `tiny:1b` already",
    ),
    "alias that is a path": (
        "[tiny-1b-instruct]",
        "[acme/tiny]",
        "line 14: model `tiny-1b`: `acme/tiny` cannot be typed",
    ),
    "alias that is a word": ("[tiny-1b-instruct]", "tiny", "`aliases` must be a list of texts, found `tiny`"),
    "variant twice": ("- name: int4-cpu", "- name: q4_0", "line 36: model `tiny-1b`, variant `q4_0`: `name` is there"),
    "no variants": (
        "    variants:\n      - {name",
        "    variants: []\n    x:\n      - {name",
        "`variants` must be a list with one item or more",
    ),
    "variants that are a word": (
        "    parameters: 1000",
        "    parameters: many",
        "line 16: model `tiny-1b`: `parameters` must be a positive whole number, found `many`",
    ),
    "unknown source": (
        "source: [page, list]",
        "source: [page, lists]",
        "`source` must be a key of the table `sources`, found `lists`; did you mean `list`?",
    ),
    "no source": ("source: [page, list]", "source: []", "`source` must be a text or a list of texts, found a list"),
    "unknown licence": (
        "    license: mit\n    parameters",
        "    license: gpl\n    parameters",
        "table `licenses`, found",
    ),
    "unknown vendor": ("    vendor: Acme\n    family: plain", "    vendor: Acne\n    family: plain", "mean `Acme`?"),
    "vendor's tier for another's repository": (
        "repo: acme/tiny-GGUF",
        "repo: someone/tiny-GGUF",
        "line 26: model `tiny-1b`, variant `q4_0`: `tier` cannot be vendor: `someone` is none of the vendor's",
    ),
    "another's tier for the vendor's repository": ("tier: vendor", "tier: platform", "`acme` is one of the vendor's"),
    "repository without organisation": ("repo: onnx/tiny", "repo: tiny", "`repo` must be org/name, found `tiny`"),
    "hub build without files": ('        files: [{path: "cpu/*"}]\n', "", "variant `int4-cpu`: `files` is missing"),
    "file that is a word": ('[{path: "cpu/*"}]', "[cpu]", "expected keys and values, found `cpu`"),
    "group without heads": ("{layers: 1, kv_heads: 1, head_dim: 16}", "{layers: 1}", "line 19: model `tiny-1b`: `kv_"),
    "key twice": ("        gated: true", "        gated: true\n        gated: true", "line 34: `gated` is there twice"),
    "anchor": ("[cpu, cuda]", "&a [cpu, *a]", "anchors and aliases are not used here"),
    "broken YAML": ("title: Plain", "title: [", "catalog.yaml line "),
    "table that is a list": ("  Acme: [acme]", "  - Acme", "`vendors` must be keys and values, found a list"),
}


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line_and_key(old: str, new: str, message: str) -> None:
    assert old in CATALOG
    with pytest.raises(CatalogError) as caught:
        parse_catalog(CATALOG.replace(old, new, 1))
    assert caught.value.message.startswith("catalog.yaml line ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "models",
        "- a",
        "a: 2026-13-45",
        "a: \x00",
        "{[1]: 2}",
        "!!python/object:os.system x",
        "[" * 2000 + "]" * 2000,
    ],
)
def test_text_that_is_no_catalog_is_a_catalog_error(text: str) -> None:
    with pytest.raises(CatalogError):
        parse_catalog(text)


@given(st.text())
def test_random_text_is_never_another_error(text: str) -> None:
    with pytest.raises(CatalogError):
        parse_catalog(text)


@given(st.integers(0, len(CATALOG)), st.integers(0, 40), st.text(max_size=8))
def test_a_damaged_catalog_is_read_or_is_a_catalog_error(start: int, length: int, put: str) -> None:
    try:
        models = parse_catalog(CATALOG[:start] + put + CATALOG[start + length :])
    except CatalogError:
        return
    assert all(variant.source for model in models for variant in model.variants)


def test_json_brings_the_same_models_back() -> None:
    models = parse_catalog(CATALOG)
    assert from_json(to_json(models)) == models


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"fields": {}, "models": []}', to_json(parse_catalog(CATALOG))[:-9]],
    ids=["empty", "no keys", "a list", "null", "other fields", "cut off"],
)
def test_a_damaged_cache_is_a_catalog_error(text: str) -> None:
    with pytest.raises(CatalogError):
        from_json(text)


def test_a_row_of_another_length_is_a_catalog_error() -> None:
    with pytest.raises(CatalogError):
        from_json(to_json(parse_catalog(CATALOG)).replace('"models":[["tiny-1b",', '"models":[['))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000 + "]" * 30_000,
        "a: " * 200 + "b",
        '!!int ""',
        "!!bool maybe",
        "!!timestamp x",
        "a: &x [1]\nb: *x",
        CATALOG.replace("note: a note", f"note: 0x{'f' * 20_000}"),
        CATALOG.replace("bytes: 600", f"bytes: {'9' * 4_000}"),
    ],
    ids=["deep", "deep mappings", "empty int", "no bool", "no time", "alias", "huge note", "huge size"],
)
def test_what_would_break_the_reader_is_a_catalog_error(text: str) -> None:
    with pytest.raises(CatalogError):
        parse_catalog(text)


def test_a_draft_is_a_model_with_a_source() -> None:
    text = CATALOG.replace("    family: tiny\n", "    family: tiny\n    draft: {model: plain, source: page}\n")
    tiny, plain = parse_catalog(text)
    assert (tiny.draft, plain.draft) == ("plain", None)
    assert from_json(to_json((tiny, plain))) == (tiny, plain)
    for wrong, message in (
        ("{model: plain}", "`source` is missing"),
        ("{model: plain, source: hearsay}", "`source` must be a key of the table `sources`"),
        ("{model: ../plain, source: page}", "`../plain` cannot be typed as a model name"),
    ):
        with pytest.raises(CatalogError, match=message):
            parse_catalog(text.replace("{model: plain, source: page}", wrong))
