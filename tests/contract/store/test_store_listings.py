"""What a hub's listing may say, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.fixtures.hub import git_sha1, make_model, sha256

from localfirst import paths
from localfirst.errors import IntegrityError, LicenseError, NetworkError, UnknownNameError, UsageError
from localfirst.store import manifest
from localfirst.store.listing import HubFile, Listing
from localfirst.store.net.endpoint import Endpoint, find_endpoint
from localfirst.store.net.hub import describe, read_listing
from localfirst.store.pull import pull
from localfirst.types import ModelName

if TYPE_CHECKING:
    from tests.fixtures.hub import Hub

DATA = b"GGUF" + bytes(1000)


def test_a_listing_has_the_commit_and_every_file_with_its_digest(hub: Hub) -> None:
    header = {"total": 8_000_000_000, "context_length": 4096, "architecture": "llama"}
    commit = hub.add_repo("org/model", {"b.gguf": DATA, "a.json": b"{}"}, extra={"gguf": header}, gated=True)
    assert read_listing("org/model", None) == Listing(
        repo="org/model",
        commit=commit,
        files=(HubFile("a.json", 2, None, git_sha1(b"{}")), HubFile("b.gguf", len(DATA), sha256(DATA), None)),
        gated=True,
        license="mit",
        task="text-generation",
        parameters=8_000_000_000,
        context_tokens=4096,
    )


def test_a_described_build_can_be_pulled_and_described_again_offline(hub: Hub) -> None:
    hub.add_repo("org/model", {"a-Q4_0.gguf": DATA, "b-Q8_0.gguf": DATA + b"b"})
    model = describe(ModelName(repo="org/model", file="Q8_0"))
    installed = pull(model, model.variants[0])
    assert (installed.name, installed.variant, installed.quantization) == ("hf:org/model", "q8_0", "Q8_0")
    hub.requests.clear()
    again = describe(ModelName(repo="org/model"), offline=True)
    assert [variant.files for variant in again.variants] == [model.variants[0].files]
    assert pull(again, again.variants[0], offline=True) == installed
    assert hub.requests == []


def test_offline_without_the_model_is_an_error_that_says_what_to_type(hub: Hub) -> None:
    with pytest.raises(NetworkError) as caught:
        describe(ModelName(repo="org/model"), offline=True)
    assert caught.value.hint == "Run `lf pull hf:org/model` with a connection."
    with pytest.raises(NetworkError) as caught:
        pull(*make_model("org/model", "model.gguf"), offline=True)
    assert caught.value.hint == "Run `lf pull tiny@q4_0` with a connection."
    assert hub.requests == []


def test_an_unknown_repository_is_an_unknown_name(hub: Hub) -> None:
    with pytest.raises(UnknownNameError, match="There is no repository `org/none` on 127"):
        read_listing("org/none", None)


def test_an_unknown_revision_is_an_unknown_name(hub: Hub) -> None:
    hub.add_repo("org/model", {"a.gguf": DATA})
    with pytest.raises(UnknownNameError, match="`org/model` has no revision `v9`"):
        describe(ModelName(repo="org/model", revision="v9"))


def test_a_private_repository_opens_with_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("org/model", {"a.gguf": DATA}, private=True)
    with pytest.raises(UnknownNameError, match="or it is private"):
        read_listing("org/model", None)
    hub.tokens = {"hf_secret"}
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert [file.path for file in read_listing("org/model", None).files] == ["a.gguf"]


def test_a_wrong_token_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("org/model", {"a.gguf": DATA})
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(LicenseError) as caught:
        read_listing("org/model", None)
    assert "Invalid credentials" in (caught.value.detail or "")
    assert "hf_expired" not in f"{caught.value.detail} {caught.value.hint}"


def test_a_renamed_repository_is_refused_with_its_new_name(hub: Hub) -> None:
    hub.add_repo("evil/model", {"a.gguf": DATA})
    hub.renamed["org/model"] = "evil/model"
    with pytest.raises(UnknownNameError) as caught:
        read_listing("org/model", None)
    assert caught.value.message == "`org/model` has been renamed, or its name has changed hands"
    assert "evil/model" in (caught.value.detail or "")


def first(body: dict[str, Any], **changes: Any) -> None:
    body["siblings"][0].update(changes)


def first_lfs(body: dict[str, Any], **changes: Any) -> None:
    body["siblings"][0]["lfs"].update(changes)


EVIL = {
    "path to the parent": lambda body: first(body, rfilename="../../evil.gguf"),
    "absolute path": lambda body: first(body, rfilename="/etc/cron.d/evil"),
    "windows share": lambda body: first(body, rfilename="\\\\host\\share\\x.gguf"),
    "digest with a path": lambda body: first_lfs(body, sha256="../" * 20 + "evil"),
    "digest of another length": lambda body: first_lfs(body, sha256="a" * 63),
    "negative size": lambda body: first_lfs(body, size=-1),
    "size in words": lambda body: first_lfs(body, size="many"),
    "commit with a path": lambda body: body.update(sha="../../evil"),
    "two names in one": lambda body: body["siblings"].append({**body["siblings"][0], "rfilename": "A.GGUF"}),
}


@pytest.mark.parametrize("edit", EVIL.values(), ids=EVIL)
def test_a_hostile_listing_is_refused_before_anything_is_written(hub: Hub, edit: Any) -> None:
    hub.add_repo("org/model", {"a.gguf": DATA}, edit=edit)
    with pytest.raises(IntegrityError):
        pull(*make_model("org/model", "a.gguf"))
    assert [path for path in paths.data_dir().rglob("*") if path.is_file()] == []


MALFORMED = {
    "no name": lambda body: body.pop("id"),
    "files are no list": lambda body: body.update(siblings=7),
    "a file is no object": lambda body: body.update(siblings=["a.gguf"]),
    "storage without a size": lambda body: first(body, lfs={"x": 1}),
}


@pytest.mark.parametrize("edit", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_listing_is_a_network_error(hub: Hub, edit: Any) -> None:
    hub.add_repo("org/model", {"a.gguf": DATA}, edit=edit)
    with pytest.raises(NetworkError, match="did not answer as a hub does"):
        read_listing("org/model", None)


def test_a_hub_that_answers_for_another_commit_is_refused(hub: Hub) -> None:
    commit = hub.add_repo("org/model", {"a.gguf": DATA}, edit=lambda body: body.update(sha="f" * 40))
    with pytest.raises(IntegrityError, match="answers for another commit"):
        pull(*make_model("org/model", "a.gguf", revision=commit))


def test_text_from_a_hub_cannot_drive_the_terminal(hub: Hub) -> None:
    headers = {"X-Error-Message": "\x1b]52;c;ZXZpbA==\x07boo"}
    hub.fail("status", "api", status=403, headers=headers, times=None)
    with pytest.raises(LicenseError) as caught:
        read_listing("org/model", None)
    assert "\x1b" not in (caught.value.detail or "")


def test_foundry_builds_say_that_they_cannot_be_fetched(hub: Hub) -> None:
    with pytest.raises(UnknownNameError) as caught:
        pull(*make_model("Phi-4-mini", "*", host="foundry"))
    assert caught.value.hint == "See the other builds: `lf model info tiny`."


def test_the_built_in_model_needs_no_hub(hub: Hub) -> None:
    from localfirst.services.catalogue import load_models

    (starter,) = (model for model in load_models() if model.name == "starter")
    for variant in starter.variants:
        installed = pull(starter, variant, offline=True)
        assert Path(installed.root) == paths.starter_dir()
        assert [file.size_bytes for file in installed.files] == [
            (paths.starter_dir() / file.path).stat().st_size for file in installed.files
        ]
    assert manifest.find_all() == ()
    assert hub.requests == []


ORIGINS = {
    "the hub itself": ("https://huggingface.co/org/model/resolve/main/x", True),
    "with its port": ("https://huggingface.co:443/x", True),
    "other storage": ("https://cdn-lfs.hf.co/x", False),
    "unencrypted": ("http://huggingface.co/x", False),
    "another port": ("https://huggingface.co:8443/x", False),
    "a longer host": ("https://huggingface.co.evil.example/x", False),
    "a host in the user name": ("https://huggingface.co@evil.example/x", False),
    "no address": ("mailto:x", False),
    "a port that is none": ("https://huggingface.co:x/", False),
}


@pytest.mark.parametrize(("url", "allowed"), ORIGINS.values(), ids=ORIGINS)
def test_the_token_goes_to_the_hubs_own_origin_alone(url: str, allowed: bool) -> None:
    endpoint = Endpoint("https://huggingface.co", "hf_secret")
    assert bool(endpoint.headers_for(url)) is allowed
    assert "hf_secret" not in repr(endpoint)


@pytest.mark.parametrize("url", ["ftp://x", "huggingface.co", "https://user:pass@host"])
def test_an_endpoint_that_is_no_web_address_is_a_usage_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(UsageError):
        find_endpoint()


def test_a_certificate_file_that_is_not_there_is_a_clear_error(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("org/model", {"a.gguf": DATA})
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(NetworkError):
        pull(*make_model("org/model", "a.gguf"))
