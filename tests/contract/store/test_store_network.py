"""The way out of this machine, for a listing and for bytes alike: certificates, proxies, redirects, and the token."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from tests.fixtures.certificates import Authority, make_authority
from tests.fixtures.hub import Hub, make_model
from tests.fixtures.proxy import Proxy

from localfirst.errors import LfError, NetworkError, UnknownNameError, UsageError
from localfirst.store.net.endpoint import Endpoint, find_endpoint
from localfirst.store.net.fetch import fetch_text
from localfirst.store.net.hub import reach, read_listing
from localfirst.store.net.network import find_proxy
from localfirst.store.net.wire import Limits
from localfirst.store.pull import pull

DATA = b"GGUF" + bytes(range(256)) * 700
FAST = Limits(connect_s=2, read_s=2, backoff_s=0.01, backoff_max_s=0.02, tries=3)
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "HF_TOKEN", "LF_MIRROR")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """None of this machine's own, and a client of huggingface_hub that has read none yet."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("LF_HOME", str(tmp_path / "lf-home"))
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls_hub(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub and its storage, both by TLS, whose authority this machine does not know."""
    with Hub(authority.make_server()) as running:
        running.add_repo("org/model", {"model.gguf": DATA, "notes.md": b"# Model"})
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def fetch() -> bytes:
    installed = pull(*make_model("org/model", "model.gguf"), limits=FAST)
    return (Path(installed.root) / "model.gguf").read_bytes()


def fail() -> LfError:
    with pytest.raises(LfError) as caught:
        fetch()
    return caught.value


def text_of(error: LfError) -> str:
    return f"{error.message}\n{error.detail}\n{error.hint}"


# Certificates


def test_an_authority_of_a_file_is_trusted_for_listing_and_bytes(
    tls_hub: Hub, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert fetch() == DATA
    assert {request.port for request in tls_hub.requests} == {"hub", "cdn"}
    reach(find_endpoint())
    assert fetch_text(f"{tls_hub.url}/org/model/resolve/main/notes.md", 1000) == b"# Model"


def test_an_authority_of_a_folder_is_trusted_also_beside_a_file_that_lacks_it(
    tls_hub: Hub, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_authority(tmp_path / "other")
    folder = tmp_path / "hashed"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(authority.file.read_bytes())
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to hash a folder with")
    subprocess.run([openssl, "rehash", str(folder)], check=True)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert read_listing("org/model", None).repo == "org/model"
    huggingface_hub.close_session()
    monkeypatch.setenv("SSL_CERT_FILE", str(other.file))
    assert read_listing("org/model", None).repo == "org/model"


def test_an_unknown_authority_is_refused_at_once_and_the_setting_named(tls_hub: Hub) -> None:
    error = fail()
    assert isinstance(error, NetworkError)
    assert error.message == f"The certificate of {tls_hub.url.removeprefix('https://')} is not trusted"
    assert "SSL_CERT_FILE=/path/to/ca.pem" in (error.hint or "")
    assert tls_hub.requests == []


def test_a_file_that_lacks_the_authority_is_named(
    tls_hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(make_authority(tmp_path).file))
    assert (fail().hint or "").startswith("SSL_CERT_FILE must have")


@pytest.mark.parametrize(
    ("setting", "content", "message"),
    [
        ("SSL_CERT_FILE", None, "SSL_CERT_FILE names no file"),
        ("SSL_CERT_DIR", None, "SSL_CERT_DIR names no folder"),
        ("SSL_CERT_FILE", "", "SSL_CERT_FILE has no certificates to read"),
        ("SSL_CERT_FILE", "no certificate", "SSL_CERT_FILE has no certificates to read"),
    ],
)
def test_a_setting_that_names_no_certificates_is_told(
    tls_hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, content: str | None, message: str
) -> None:
    place = tmp_path / "certificates"
    if content is not None:
        place.write_text(content)
    monkeypatch.setenv(setting, str(place))
    error = fail()
    assert (type(error), error.message) == (NetworkError, message)
    assert str(place) in (error.detail or "")
    for ask in (lambda: reach(find_endpoint()), lambda: fetch_text(tls_hub.url, 10)):
        with pytest.raises(NetworkError, match=message):
            ask()


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [({"expired": True}, "has expired"), ({"names": ("other.test",)}, "is for another name")],
    ids=["expired", "another name"],
)
def test_a_certificate_that_is_no_good_is_told_apart(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, settings_of: dict, message: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    server = authority.make_server(*settings_of.get("names", ()), expired=settings_of.get("expired", False))
    with Hub(server) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        error = fail()
        assert isinstance(error, NetworkError)
        assert message in error.message
        assert hub.requests == []


def test_a_server_without_tls_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http:", "https:"))
        assert fail().message.endswith("does not answer by TLS")


def test_what_the_hub_library_does_unasked_is_off_also_where_it_was_there_before() -> None:
    """Else it asks its maker's hub which agents there are, whatever hub is asked for files."""
    names = [f"HF_HUB_DISABLE_{name}" for name in ("TELEMETRY", "PROGRESS_BARS", "XET", "IMPLICIT_TOKEN")]
    code = f"""
from huggingface_hub import constants
from localfirst.store.net.network import prepare_hub_library
prepare_hub_library()
print([name for name in {names} if not getattr(constants, name)])
"""
    environment = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


# Proxies


@pytest.fixture
def far_hub(authority: Authority, tls_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A hub of a name that only the proxy knows; the proxy wants a password."""
    routes = {"hub.test:443": tls_hub.url, "storage.test:443": tls_hub.cdn_url}
    with Proxy(routes, password="p@ss/word") as proxy:
        tls_hub.storage = "https://storage.test"
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.test")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        yield proxy


QUOTED = "p%40ss%2Fword"


@pytest.mark.parametrize("setting", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_with_a_password_carries_listing_and_bytes(
    far_hub: Proxy, tls_hub: Hub, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv(setting, f"http://me:{QUOTED}@{far_hub.host}")
    assert fetch() == DATA
    assert set(far_hub.seen) == {("CONNECT", "hub.test:443"), ("CONNECT", "storage.test:443")}
    assert all("proxy-authorization" not in map(str.lower, request.headers) for request in tls_hub.requests)
    reach(find_endpoint())


def test_a_proxy_forwards_what_is_not_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub, Proxy({"hub.test:80": hub.url, "storage.test:80": hub.cdn_url}, password="secret") as proxy:
        hub.storage = "http://storage.test"
        hub.add_repo("org/model", {"model.gguf": DATA})
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.test")
        monkeypatch.setenv("http_proxy", f"me:secret@{proxy.host}")
        assert fetch() == DATA
        assert {target.split("/")[2] for _, target in proxy.seen} == {"hub.test", "storage.test"}
        assert all("proxy-authorization" not in map(str.lower, request.headers) for request in hub.requests)


@pytest.mark.parametrize(
    ("secret", "message"), [("", "wants a user and a password"), ("me:wrong-secret@", "does not accept the user and")]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_another_password_says_so_without_showing_it(
    far_hub: Proxy, monkeypatch: pytest.MonkeyPatch, secret: str, message: str, scheme: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{scheme}://hub.test")
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://{secret}{far_hub.host}")
    error = fail()
    assert isinstance(error, NetworkError)
    assert message in error.message
    assert f"{scheme.upper()}_PROXY" in (error.hint or "")
    assert "wrong-secret" not in text_of(error)
    assert len(far_hub.seen) == 1, "a password is tried once"


def test_a_proxy_that_is_down_is_named_with_its_setting(far_hub: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://me:hunter2@127.0.0.1:9")
    error = fail()
    assert error.message == "The proxy 127.0.0.1:9 cannot be reached"
    assert error.hint == "Check ALL_PROXY, or list hub.test in NO_PROXY to go without it."
    assert "hunter2" not in text_of(error)


@pytest.mark.parametrize("value", ["socks5://me:hunter2@127.0.0.1:1080", "http://me:hunter2@proxy:port", "http://"])
def test_what_is_no_http_proxy_is_told(far_hub: Proxy, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    error = fail()
    assert error.message == "HTTPS_PROXY is not the address of a proxy that can be used"
    assert "hunter2" not in text_of(error)


@pytest.mark.parametrize(
    ("scheme", "status", "message"),
    [
        ("https", 403, "does not connect to hub.test"),
        ("https", 200, "breaks the connection to hub.test"),
        ("http", 200, "did not answer as a hub does"),
    ],
)
def test_a_web_page_of_the_proxy_is_not_taken_for_the_hub(
    far_hub: Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str, status: int, message: str
) -> None:
    far_hub.page_status = status
    monkeypatch.setenv("HF_ENDPOINT", f"{scheme}://hub.test")
    monkeypatch.setenv("ALL_PROXY", f"http://me:{QUOTED}@{far_hub.host}")
    error = fail()
    assert isinstance(error, NetworkError)
    assert message in error.message
    assert "NO_PROXY" in (error.hint or "")
    assert QUOTED not in text_of(error)


@pytest.mark.parametrize(
    ("excepted", "url", "direct"),
    [
        ("hub.test", "https://hub.test/x", True),
        ("test", "https://hub.test/x", True),
        (".test", "https://hub.test/x", True),
        ("b.test", "https://hub.test/x", False),
        ("hub.test:443", "https://hub.test/x", True),
        ("hub.test:8443", "https://hub.test/x", False),
        ("hub.test:8443", "https://hub.test:8443/x", True),
        ("*", "https://hub.test/x", True),
        ("other.test, HUB.TEST", "https://hub.test/x", True),
        ("10.0.0.0/8", "https://10.1.2.3/x", True),
        ("10.0.0.0/8,192.168.0.0/33", "https://192.168.1.1/x", False),
        ("::1", "https://[::1]:9/x", True),
        ("fe80::/10", "https://[fe80::7]/x", True),
        ("", "https://hub.test/x", False),
    ],
)
def test_no_proxy_has_hosts_domains_ports_and_networks(
    monkeypatch: pytest.MonkeyPatch, excepted: str, url: str, direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (find_proxy(url) is None) == direct


def test_a_proxy_is_for_its_scheme_and_lower_case_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://upper.test:1")
    monkeypatch.setenv("http_proxy", "http://lower.test:2")
    assert find_proxy("https://hub.test") is None
    found = find_proxy("http://hub.test")
    assert found is not None
    assert (found.host, found.setting) == ("lower.test:2", "http_proxy")


# The token


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return "hf_secret"


@pytest.mark.parametrize("how", ["another port", "another scheme", "another host"])
def test_no_redirect_of_a_listing_takes_the_token_along(
    authority: Authority, hub: Hub, secret: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    hub.tokens = {secret}
    with Hub(authority.make_server() if how == "another scheme" else None) as other:
        other.add_repo("org/model", {"model.gguf": DATA})
        there = other.url.replace("127.0.0.1", "localhost") if how == "another host" else other.url
        hub.redirects["api/models/org/model"] = f"{there}/api/models/org/model?blobs=true"
        assert read_listing("org/model", None).files[0].size_bytes == len(DATA)
        assert hub.find_tokens("hub") == {"Bearer hf_secret"}
        assert [request.path for request in other.requests] == ["api/models/org/model"]
        assert other.find_tokens("hub") == set()


def test_an_upgrade_to_https_of_the_same_name_does_not_take_the_token_along(
    authority: Authority, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx takes it along from port 80 to port 443; the hub that the user named is the other one."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.test")
    with Hub() as plain, Hub(authority.make_server()) as other:
        other.add_repo("org/model", {"model.gguf": DATA})
        plain.redirects["api/models/org/model"] = "https://hub.test/api/models/org/model?blobs=true"
        with Proxy({"hub.test:80": plain.url, "hub.test:443": other.url}) as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            assert read_listing("org/model", None).repo == "org/model"
            assert plain.find_tokens("hub") == set()  # whoever is on the way could read it
            endpoint = Endpoint("http://hub.test", secret)
            assert read_listing("org/model", None, endpoint=endpoint).repo == "org/model"
    assert plain.find_tokens("hub") == {"Bearer hf_secret"}
    assert other.find_tokens("hub") == set()


def test_a_redirect_from_https_to_http_is_not_followed(
    tls_hub: Hub, authority: Authority, hub: Hub, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("HF_ENDPOINT", tls_hub.url)
    tls_hub.redirects["api/models/org/model"] = f"{hub.url}/api/models/org/model"
    error = fail()
    assert error.message == "127.0.0.1 redirects to an address that is not safe to follow"
    assert hub.requests == []


def test_a_renamed_repository_is_asked_for_at_home_with_the_token(hub: Hub, secret: str) -> None:
    hub.tokens = {secret}
    hub.add_repo("new/model", {"model.gguf": DATA})
    hub.renamed["org/model"] = "new/model"
    with pytest.raises(UnknownNameError, match="has been renamed"):
        read_listing("org/model", None)
    assert hub.find_tokens("hub") == {"Bearer hf_secret"}


@pytest.mark.parametrize("value", ["hf_two words", "hf_line\x01", "hf_ü", "hf_\x1b[2J"])
def test_what_cannot_be_a_token_is_refused_and_never_shown(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    error = fail()
    assert (type(error), error.message) == (UsageError, "HF_TOKEN is not a token")
    assert value[3:] not in text_of(error)
    assert hub.requests == []


# Mirrors


@pytest.mark.parametrize("storage", ["/hf", "../../../..", "{url}/hf", "//{host}/hf"])
def test_a_mirror_below_a_path_serves_listing_and_bytes_without_the_token(
    hub: Hub, secret: str, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    with Hub() as mirror:
        mirror.prefix = "hf"
        mirror.storage = storage.format(url=mirror.url, host=mirror.url.removeprefix("http://"))
        mirror.add_repo("org/model", {"model.gguf": DATA})
        monkeypatch.setenv("LF_MIRROR", f"{mirror.url}/hf/")
        assert fetch() == DATA
        assert {request.path.split("/")[0] for request in mirror.requests} == {"hf"}
        assert mirror.find_tokens("hub") == set()
    assert hub.requests == []


def test_a_mirror_that_is_the_users_own_hub_gets_the_token(
    hub: Hub, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens = hub.accepted = {secret}
    hub.add_repo("org/model", {"model.gguf": DATA}, gated=True)
    monkeypatch.setenv("LF_MIRROR", hub.url)
    assert fetch() == DATA


def test_a_gate_behind_a_mirror_says_that_the_token_stays_at_home(
    hub: Hub, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub() as mirror:
        mirror.add_repo("org/model", {"model.gguf": DATA}, gated=True)
        monkeypatch.setenv("LF_MIRROR", mirror.url)
        assert "leave out --mirror" in (fail().hint or "")


@pytest.mark.parametrize(
    "url",
    ["http://mirror.test", "ftp://mirror.test", "mirror.test", "https://me:hunter2@mirror.test", "https://m/?a=b"],
)
def test_what_is_no_mirror_is_told(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LF_MIRROR", url)
    error = fail()
    assert isinstance(error, UsageError)
    assert "hunter2" not in text_of(error)


# What only the storage behind the hub meets


def test_a_storage_that_nobody_vouches_for_is_refused_at_once(
    tls_hub: Hub, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with Hub(make_authority(tmp_path).make_server()) as other:
        tls_hub.storage = other.cdn_url
        error = fail()
        assert error.message == f"The certificate of {other.cdn_url.removeprefix('https://')} is not trusted"
        assert (error.hint or "").startswith("SSL_CERT_FILE must have")
        assert other.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_password_that_only_the_way_to_the_storage_needs_is_asked_for_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    hub.add_repo("org/model", {"model.gguf": DATA})
    hub.storage = f"{scheme}://storage.test"
    with Proxy(password="secret") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://me:wrong-secret@{proxy.host}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        error = fail()
        assert isinstance(error, NetworkError)
        assert "does not accept the user and password" in error.message
        assert "ALL_PROXY" in (error.hint or "")
        assert "wrong-secret" not in text_of(error)
        assert len(proxy.seen) == 1


def test_a_proxy_that_is_down_on_the_way_to_the_storage_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("org/model", {"model.gguf": DATA})
    hub.storage = "https://storage.test"
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    error = fail()
    assert "through 127.0.0.1:9 of HTTPS_PROXY" in (error.detail or "")
    assert "hunter2" not in text_of(error)
