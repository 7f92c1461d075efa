"""`lf catalog`: catalogs of one's own beside the built-in one, mistakes with their lines, and pins against a hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.fixtures.hub import Hub, sha256
from tests.fixtures.scripted import Shape, make_gguf

REPLY = "I come from a catalog of your own."
CATALOG = """\
sources:
  mine: my own builds
licenses:
  mit: https://opensource.org/license/mit
vendors:
  Acme: [acme]
models:
  # What we run at work.
  - name: acme-tiny
    title: Acme Tiny
    vendor: Acme
    family: acme-tiny
    license: mit
    variants:
      - name: q4_0
        format: gguf
        quantization: Q4_0
        origin: vendor-ptq
        tier: vendor
        repo: acme/tiny-GGUF
        revision: {revision}
        devices: [cpu]
        files:
          - {{path: tiny.gguf, bytes: {size}, sha256: {sha}}}
        confidence: verified
        source: mine
        note: kept as it is
"""


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    make_gguf(tmp_path / "tiny.gguf", REPLY)
    return (tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def hub(lf: Lf, weights: bytes, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as running:
        running.add_repo("acme/tiny-GGUF", {"tiny.gguf": weights})
        lf.environment |= {"HF_ENDPOINT": running.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(tmp_path / "hf")}
        yield running


@pytest.fixture
def file(hub: Hub, weights: bytes, tmp_path: Path) -> Path:
    """A catalog that agrees with the hub."""
    path = tmp_path / "work.yaml"
    commit = hub.repos["acme/tiny-GGUF"].find("main")
    path.write_text(CATALOG.format(revision=commit, size=len(weights), sha=sha256(weights)))
    return path


def test_a_model_of_an_added_catalog_is_pulled_and_runs_until_the_catalog_is_removed(lf: Lf, file: Path) -> None:
    assert lf("model", "info", "acme-tiny").returncode == 3
    added = lf("catalog", "add", str(file))
    assert (added.returncode, added.stderr) == (0, "")
    assert "work" in added.stdout
    file.unlink()
    names = [catalog["name"] for catalog in json.loads(lf("catalog", "list", "--json").stdout)["catalogs"]]
    assert names == ["built-in", "work"]
    assert lf("run", "Acme_Tiny", "hi").stdout == f"{REPLY}\n"
    assert lf("catalog", "remove", "work").returncode == 0
    assert lf("--offline", "run", "acme-tiny", "hi").stdout == f"{REPLY}\n", "what is on this disk stays"
    assert lf("catalog", "remove", "work").returncode == 3


def test_a_catalog_is_added_from_an_address(lf: Lf, hub: Hub, file: Path) -> None:
    hub.add_repo("acme/lists", {"work.yaml": file.read_bytes()})
    url = f"{hub.url}/acme/lists/resolve/main/work.yaml"
    assert lf("--offline", "catalog", "add", url).returncode == 6
    assert lf("catalog", "add", url + "?download=true").returncode == 0
    assert lf("model", "info", "acme-tiny").returncode == 0
    missing = lf("catalog", "add", f"{hub.url}/acme/lists/resolve/main/none.yaml")
    assert (missing.returncode, "answers 404" in missing.stderr) == (6, True)
    other = lf("catalog", "add", "http://example.invalid/x.yaml")
    assert (other.returncode, "not an https address" in other.stderr) == (2, True)


def test_no_added_model_takes_a_name_that_is_given_away(lf: Lf, file: Path) -> None:
    file.write_text(file.read_text().replace("name: acme-tiny", "name: phi4"))
    refused = lf("catalog", "add", str(file))
    assert refused.returncode == 1
    assert "work.yaml line 9: model `phi4`" in refused.stderr
    assert "already means `phi-4`" in refused.stderr
    assert len(json.loads(lf("catalog", "list", "--json").stdout)["catalogs"]) == 1


@pytest.mark.parametrize("alias", ["gemma3:4b", "gemma3:4b-it-qat", "Phi-4-mini-instruct-cuda-gpu:5", "PHI4-GGUF"])
def test_an_alias_that_is_given_away_is_a_mistake_in_its_own_line(lf: Lf, file: Path, alias: str) -> None:
    aliases = f"aliases:\n      - acme-small\n      - {alias!r}\n    license: mit"
    file.write_text(file.read_text().replace("license: mit", aliases))
    linted = lf("catalog", "lint", str(file))
    assert linted.returncode == 1
    assert f"work.yaml line 15: model `acme-tiny`: the name `{alias}` already means `" in linted.stdout + linted.stderr


def test_an_added_catalog_that_was_spoilt_costs_its_own_entries_only(lf: Lf, file: Path) -> None:
    assert lf("catalog", "add", str(file)).returncode == 0
    kept = lf.home / "catalogs" / "work.yaml"
    kept.write_text(kept.read_text().replace("format: gguf", "format: gguff"))
    assert lf("model", "info", "acme-tiny").returncode == 3
    assert lf("model", "info", "phi-4").returncode == 0
    listed = lf("catalog", "list")
    assert (listed.returncode, "work.yaml line 16" in listed.stdout) == (0, True)
    checks = json.loads(lf("doctor", "--json").stdout)["checks"]
    built_in, work = (check for check in checks if check["name"] == "Catalog")
    assert (built_in["state"], work["state"]) == ("ok", "warning")
    assert "lf catalog remove work" in work["hint"]


def test_lint_says_every_mistake_with_its_line(lf: Lf, file: Path) -> None:
    assert lf("catalog", "lint", str(file)).returncode == 0
    assert lf("catalog", "lint").returncode == 0
    text = file.read_text()
    other = text[text.index("  - name: acme") :].replace("acme-tiny", "acme-more")
    file.write_text(text.replace("tier: vendor", "tier: platform") + other.replace("license: mit", "license: gpl"))
    linted = lf("catalog", "lint", str(file), "--json")
    first, second = json.loads(linted.stdout)["catalogs"][0]["mistakes"]
    assert linted.returncode == 1
    assert first.startswith("work.yaml line 19: model `acme-tiny`, variant `q4_0`: `tier` cannot be platform: ")
    assert second.startswith("work.yaml line 32: model `acme-more`: `license` must be a key of the table `licenses`")
    wrong = text.replace("license: mit", "license: gpl").replace("origin:", "orgin:").replace("tier: vendor", "tier: x")
    file.write_text(wrong.replace("title: ", "titel: "))
    told = json.loads(lf("catalog", "lint", str(file), "--json").stdout)["catalogs"][0]["mistakes"]
    for words in (
        "unknown key `titel`",
        "`title` is missing",
        "unknown key `orgin`",
        "`origin` is missing",
        "`tier` must",
    ):
        assert sum(words in one for one in told) == 1, (words, told)
    lines = [int(one.split("line ")[1].partition(":")[0]) for one in told]
    assert lines == sorted(lines)
    assert all("acme-tiny" in one for one in told)
    file.write_text("models: [x")
    broken = lf("catalog", "lint", str(file))
    assert (broken.returncode, "work.yaml line" in broken.stdout) == (1, True)
    assert lf("catalog", "lint", str(file.with_name("none.yaml"))).returncode == 2


def test_a_copy_of_the_built_in_catalog_is_not_compared_with_it(lf: Lf, tmp_path: Path) -> None:
    copy = tmp_path / "catalog.yaml"
    text = (Path(__file__).parents[2] / "catalog.yaml").read_text()
    copy.write_text(text)
    assert lf("catalog", "lint", str(copy)).returncode == 0
    copy.write_text(text.replace("format: gguf", "format: ggufff", 1))
    linted = lf("catalog", "lint", str(copy), "--json")
    (mistake,) = json.loads(linted.stdout)["catalogs"][0]["mistakes"]
    assert (linted.returncode, "`format` must be one of" in mistake) == (1, True)


def test_one_build_is_checked_where_the_name_ends_with_it(lf: Lf, file: Path) -> None:
    assert lf("catalog", "add", str(file)).returncode == 0
    builds = json.loads(lf("catalog", "check", "acme-tiny-q4_0", "--json").stdout)
    assert "acme-tiny" in json.dumps(builds)
    unknown = lf("catalog", "check", "acme-tiny-q8_0", "--json")
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert "has no build `@q8_0`" in unknown.stderr
    assert "@q4_0" in unknown.stderr


def find_states(lf: Lf) -> tuple[int, list[tuple[str, list[str]]]]:
    done = lf("catalog", "check", "acme-tiny", "--json")
    return done.returncode, [(one["state"], one["findings"]) for one in json.loads(done.stdout)["builds"]]


def test_check_sees_what_the_hub_has_changed_and_corrects_the_entry(lf: Lf, hub: Hub, file: Path) -> None:
    assert lf("catalog", "add", str(file)).returncode == 0
    assert find_states(lf) == (0, [("same", [])])
    old, repo = hub.repos["acme/tiny-GGUF"].find("main"), "acme/tiny-GGUF"

    hub.add_repo(repo, {"tiny.gguf": hub.repos[repo].commits[str(old)]["tiny.gguf"], "README.md": b"new"})
    moved = hub.repos[repo].find("main")
    assert moved != old
    assert find_states(lf) == (0, [("moved", [f"the main branch is at {moved}, the pin is {old}"])])

    hub.add_repo(repo, {"Tiny.gguf": b"other weights"}, gated=True)
    code, [(state, findings)] = find_states(lf)
    assert (code, state) == (1, "changed")
    assert "tiny.gguf is spelt Tiny.gguf now" in findings
    assert any("13 bytes" in finding for finding in findings)
    assert "is gated now" in findings

    written = lf("catalog", "check", "acme-tiny", "--write", str(file))
    assert (written.returncode, "corrected" in written.stderr) == (1, True)
    commit, digest = hub.repos[repo].find("main"), sha256(b"other weights")
    expected = CATALOG.format(revision=commit, size=13, sha=digest).replace("tiny.gguf,", "Tiny.gguf,")
    assert file.read_text() == expected.replace("        revision:", "        gated: true\n        revision:")
    assert lf("catalog", "lint", str(file)).returncode == 0

    hub.add_repo(repo, {"README.md": b"empty"})
    code, [(state, findings)] = find_states(lf)
    assert (code, state) == (1, "gone")
    assert "tiny.gguf is not there" in findings


def test_check_of_a_repository_that_is_gone_and_of_no_hub(lf: Lf, hub: Hub, file: Path) -> None:
    assert lf("catalog", "add", str(file)).returncode == 0
    del hub.repos["acme/tiny-GGUF"]
    code, [(state, _)] = find_states(lf)
    assert (code, state) == (1, "gone")
    lf.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert lf("catalog", "check", "acme-tiny").returncode == 6
    assert lf("--offline", "catalog", "check", "acme-tiny").returncode == 6


def test_a_correction_keeps_a_catalog_valid_whatever_the_hub_names_its_files(lf: Lf, hub: Hub, file: Path) -> None:
    name, repo = "a}, b #c.gguf", "acme/tiny-GGUF"
    size = len(hub.repos[repo].commits[str(hub.repos[repo].find("main"))]["tiny.gguf"])
    sha = sha256(hub.repos[repo].commits[str(hub.repos[repo].find("main"))]["tiny.gguf"])
    entry, commit = file.read_text(), hub.repos[repo].find("main")
    for old, new in {
        f"        revision: {commit}\n": "",
        "      - name: q4_0\n": f"      - revision: {commit}\n        name: q4_0\n        gated: true\n",
        f"path: tiny.gguf, bytes: {size}, sha256: {sha}": f"path: {json.dumps(name)}",
        "        note:": f"        size: {size}\n        note:",
    }.items():
        assert old in entry
        entry = entry.replace(old, new)
    file.write_bytes(entry.replace("\n", "\r\n").encode())
    assert lf("catalog", "add", str(file)).returncode == 0
    hub.add_repo(repo, {name: b"short"}, gated=False)
    written = lf("catalog", "check", "acme-tiny", "--write", str(file))
    assert (written.returncode, "corrected" in written.stderr) == (1, True)
    text = file.read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n")
    assert b"gated" not in text
    assert lf("catalog", "remove", "work").returncode == 0
    assert lf("catalog", "add", str(file)).returncode == 0
    assert find_states(lf) == (0, [("same", [])])


def test_what_is_no_catalog_is_not_written_to(lf: Lf, hub: Hub, file: Path, tmp_path: Path) -> None:
    assert lf("catalog", "add", str(file)).returncode == 0
    requests = len(hub.requests)
    for text in ("hello", "- a", "models: [x]"):
        (tmp_path / "other.yaml").write_text(text)
        done = lf("catalog", "check", "acme-tiny", "--write", str(tmp_path / "other.yaml"))
        assert (done.returncode, done.stderr[:6], len(hub.requests)) == (1, "error:", requests)


def test_an_added_catalog_speaks_for_no_other_vendor_and_is_not_built_in(lf: Lf, file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace("Acme", "Microsoft"))
    refused = lf("catalog", "add", str(file))
    assert (refused.returncode, "the organisations of `Microsoft` are `microsoft`" in refused.stderr) == (1, True)
    file.write_text(text.replace("        repo:", "        host: builtin\n        repo:"))
    refused = lf("catalog", "add", str(file))
    assert (refused.returncode, "`host` cannot be builtin" in refused.stderr) == (1, True)


def test_a_catalog_that_cannot_be_kept_is_an_error(lf: Lf, file: Path) -> None:
    lf.home.mkdir()
    (lf.home / "catalogs").write_text("in the way")
    done = lf("catalog", "add", str(file))
    assert (done.returncode, "cannot be written" in done.stderr) == (1, True)
    assert lf("catalog", "add", "https://[x", "--name", "y").returncode == 2


def test_the_draft_that_a_catalog_names_is_fetched_and_used_where_it_is_asked_for(
    lf: Lf, file: Path, hub: Hub, tmp_path: Path
) -> None:
    make_gguf(tmp_path / "large.gguf", REPLY, shape=Shape(hidden=128, heads=4))
    large = (tmp_path / "large.gguf").read_bytes()
    hub.add_repo("acme/large-GGUF", {"large.gguf": large})
    tiny = CATALOG[CATALOG.index("  - name: acme-tiny") :]
    model = tiny.replace("tiny", "large").replace("Tiny", "Large")
    model = model.format(revision=hub.repos["acme/large-GGUF"].find("main"), size=len(large), sha=sha256(large))
    model = model.replace("    license: mit\n", "    license: mit\n    draft: {model: acme-tiny, source: mine}\n")
    file.write_text(file.read_text() + model)
    assert lf("catalog", "add", str(file)).returncode == 0
    explained = json.loads(lf("model", "explain", "acme-large", "--draft", "auto", "--json").stdout)
    assert explained["chosen"]["draft"] == "acme-tiny@q4_0"
    answer = json.loads(lf("run", "acme-large", "hi", "--draft", "auto", "--json").stdout)
    assert (answer["text"], answer["draft"]) == (REPLY, "acme-tiny@q4_0")
    assert answer["usage"]["drafted_tokens"] > 3
    offline = json.loads(lf("--offline", "run", "acme-large", "hi", "--draft", "auto", "--json").stdout)
    assert offline["draft"] == "acme-tiny@q4_0"
    assert json.loads(lf("run", "acme-large", "hi", "--json").stdout)["draft"] is None
