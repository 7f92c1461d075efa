"""Listings of a Hugging Face hub, through huggingface_hub, whose exceptions end here.

Every answer is checked: the repository's name (a renamed one is refused), the commit, each path, size and digest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from localfirst.errors import IntegrityError, LfError, NetworkError, UnknownNameError
from localfirst.store import builds, manifest, revisions
from localfirst.store.listing import HubFile, Listing
from localfirst.store.names import check_paths, check_sha1, check_sha256, is_repo
from localfirst.store.net import network
from localfirst.store.net.endpoint import Endpoint, find_endpoint
from localfirst.store.net.tokens import keep_token
from localfirst.store.net.wire import Limits
from localfirst.store.progress import ignore
from localfirst.terminal import make_inert
from localfirst.types import Model, ModelName, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from huggingface_hub import ModelInfo

TRIES = 3
_MAX_FILES = 20_000
_TRANSIENT = {408, 429, 500, 502, 503, 504}


def read_listing(
    repo: str,
    revision: str | None,
    *,
    endpoint: Endpoint | None = None,
    report: Callable[[Progress], None] = ignore,
    limits: Limits | None = None,
) -> Listing:
    """The files of a repository at a revision (`None`: the main branch), as the hub has them now.

    Raises:
        UnknownNameError: no such repository or revision, or it has been renamed.
        LicenseError: the hub wants an accepted licence or a token.
        NetworkError: the hub cannot be reached or is down.
        IntegrityError: the answer has hostile or impossible content.
    """
    if not is_repo(repo):
        raise UnknownNameError(f"`{repo}` is not a repository name", hint="Write hf:ORGANISATION/REPOSITORY.")
    endpoint = endpoint or find_endpoint()
    return check_listing(_ask(_Question(endpoint, repo, revision), report, limits or Limits()), repo, endpoint)


@dataclass(frozen=True, slots=True)
class _Question:
    endpoint: Endpoint
    repo: str
    revision: str | None


Answer = TypeVar("Answer")


def _ask(question: _Question, report: Callable[[Progress], None], limits: Limits) -> ModelInfo:
    endpoint, repo, revision = question.endpoint, question.repo, question.revision
    network.prepare_hub_library()
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint.url, token=endpoint.token or False, library_name="localfirst")
    return _insist(
        lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=limits.connect_s),
        endpoint,
        explain=lambda error: _explain(error, endpoint, repo, revision),
        notice=lambda text: report(Progress(repo, 0, None, None, {"notice": text})),
        limits=limits,
    )


def _insist(
    action: Callable[[], Answer],
    endpoint: Endpoint,
    *,
    explain: Callable[[Any], LfError],
    notice: Callable[[str], None],
    limits: Limits,
) -> Answer:
    """What a function of huggingface_hub answers, tried again where that may help, with errors of ours.

    Raises:
        NetworkError: no answer, or none of a hub.
        LfError: the hub refuses; `explain` says how.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    for attempt in range(1, TRIES + 1):
        try:
            return action()
        except HfHubHTTPError as error:
            if attempt == TRIES or error.response.status_code not in _TRANSIENT:
                raise explain(error) from error
            cause = f"answers {error.response.status_code}"
        except httpx2.HTTPError as error:
            final = isinstance(error, httpx2.TooManyRedirects) or not network.may_pass(error)
            if attempt == TRIES or final:
                raise network.explain(error, endpoint.url) from error
            cause = network.describe(error)
        except (OSError, httpx2.InvalidURL) as error:
            raise network.explain(error, endpoint.url) from error
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:  # huggingface_hub trusts the reply's shape
            said = make_inert(str(error))[:200] if endpoint.token is None else ""
            what = "no JSON" if isinstance(error, ValueError) else type(error).__name__
            raise _no_hub(endpoint, f"{what}: {said}".rstrip(": ")) from error
        notice(f"{endpoint.host}: {cause}; trying again")
        time.sleep(2 * limits.backoff_s * attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _no_hub(endpoint: Endpoint, detail: str) -> NetworkError:
    hint = "A login page of the network may be in between; open a web page to see."
    if proxy := network.find_proxy(endpoint.url):
        without = f"or list {endpoint.host} in NO_PROXY to go without it."
        hint = f"The proxy {proxy.host} may have answered instead; check {proxy.setting}, {without}"
    return NetworkError(f"{endpoint.host} did not answer as a hub does", detail=detail, hint=hint)


class Account(NamedTuple):
    """Whose a token is, as its hub says."""

    user: str
    token_name: str | None
    role: str | None
    """What the token may do: `read`, `write`, `fineGrained`."""


def read_account(endpoint: Endpoint) -> Account:
    """Ask the hub whose the endpoint's token is.

    Raises:
        LicenseError: it knows no such token.
        NetworkError: it cannot be reached, is down, or answers as no hub does.
    """
    network.prepare_hub_library()
    from huggingface_hub import HfApi

    def explain(error: Any) -> LfError:
        status = error.response.status_code
        if status in {401, 403}:
            return endpoint.refuse_token(f"{endpoint.host} answers {status}")
        return _explain_status(status, endpoint, "your token")

    api = HfApi(endpoint=endpoint.url, library_name="localfirst")
    said: object = _insist(
        lambda: api.whoami(endpoint.token), endpoint, explain=explain, notice=lambda _: None, limits=Limits()
    )
    user = said.get("name") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(user, str) or not user:
        raise _no_hub(endpoint, "it does not say whose the token is")
    auth = said.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    name, role = (token.get("displayName"), token.get("role")) if isinstance(token, dict) else (None, None)
    return Account(user, name if isinstance(name, str) else None, role if isinstance(role, str) else None)


def keep_account(endpoint: Endpoint) -> Account:
    """Keep the endpoint's token, if the hub knows whose it is.

    Raises:
        LicenseError, NetworkError: as `read_account`.
        StoreError: the place cannot be written.
    """
    account, token = read_account(endpoint), endpoint.token or ""
    _insist(
        lambda: keep_token(token, endpoint.url),
        endpoint,
        explain=lambda error: _explain_status(error.response.status_code, endpoint, "your token"),
        notice=lambda _: None,
        limits=Limits(),
    )
    return account


def reach(endpoint: Endpoint, *, limits: Limits | None = None) -> None:
    """Ask the hub one small question, to see whether it answers.

    Raises:
        NetworkError: it does not, or not as a hub does.
    """
    import httpx2

    url = f"{endpoint.url}/api/models?limit=1"
    limits = limits or Limits()
    try:
        with network.open_client(connect_s=limits.connect_s, read_s=limits.connect_s) as client:
            response = client.get(url, headers=endpoint.headers_for(url))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise network.explain(error, url) from error
    try:
        is_hub = response.status_code == httpx2.codes.OK and isinstance(response.json(), list)
    except ValueError:
        is_hub = False
    if not is_hub:
        refused = response.status_code == httpx2.codes.PROXY_AUTHENTICATION_REQUIRED
        raise (network.explain_password(url) if refused else None) or _no_hub(
            endpoint, f"{url}: {response.status_code}"
        )


def find_file_address(endpoint: Endpoint, repo: str, path: str) -> str | None:
    """Where the hub sends those who ask for a large file; `None` where it hands the file out itself, or has none.

    Raises:
        NetworkError: it does not answer.
    """
    answer = touch(f"{endpoint.url}/{repo}/resolve/main/{path}", endpoint.headers_for(endpoint.url))
    return answer if answer and urlsplit(answer).netloc else None


def touch(url: str, headers: Mapping[str, str] | None = None, *, limits: Limits | None = None) -> str | None:
    """Ask for an address without its content; where it redirects to, if it does.

    Raises:
        NetworkError: nothing answers there.
    """
    import httpx2

    limits = limits or Limits()
    try:
        with network.open_client(connect_s=limits.connect_s, read_s=limits.connect_s) as client:
            response = client.head(url, headers=dict(headers or {}), follow_redirects=False)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise network.explain(error, url) from error
    return response.headers.get("location")


def _explain(error: Any, endpoint: Endpoint, repo: str, revision: str | None) -> LfError:
    """Our error for the hub's. Source of the codes: huggingface_hub, `utils/_http.py`, `hf_raise_for_status`."""
    status, page = error.response.status_code, endpoint.repo_url(repo)
    code = error.response.headers.get("X-Error-Code", "")
    said = make_inert(str(error.server_message or error.response.headers.get("X-Error-Message", "")))[:300]
    reason = f"{endpoint.host} answers {status} {said}".rstrip()
    if code == "RevisionNotFound":
        return UnknownNameError(
            f"`{repo}` has no revision `{revision}`", detail=reason, hint=f"Its revisions: {page}/commits/main"
        )
    if code == "RepoNotFound" or (status == 404 and code != "EntryNotFound"):
        return UnknownNameError(
            f"There is no repository `{repo}` on {endpoint.host}, or it is private",
            detail=reason,
            hint=f"Check the spelling at {page}; {endpoint.say_access()}.",
        )
    if status in {401, 403}:
        return endpoint.refusal(page, reason)
    return _explain_status(status, endpoint, f"`{repo}`", reason)


def _explain_status(status: int, endpoint: Endpoint, what: str, reason: str | None = None) -> NetworkError:
    if status == 407 and (refused := network.explain_password(endpoint.url)):
        return refused
    reason = reason or f"{endpoint.host} answers {status}"
    return NetworkError(f"{endpoint.host} is not serving {what}", detail=reason, hint="Try again later.")


def check_listing(info: ModelInfo, repo: str, endpoint: Endpoint) -> Listing:
    """A listing whose every name, size and digest is safe to use.

    Raises:
        UnknownNameError: the answer is about another repository than the one asked for.
        IntegrityError: anything else in it that an honest hub does not send.
    """
    answered: object = info.id
    if not isinstance(answered, str) or answered.lower() != repo.lower():
        raise UnknownNameError(
            f"`{repo}` has been renamed, or its name has changed hands",
            detail=f"{endpoint.host} answers with {answered!a}",
            hint=f"Look at {endpoint.repo_url(repo)}; if you trust the new name, use that.",
        )
    source = f"{endpoint.host}'s listing of `{repo}`"
    siblings = info.siblings or []
    if len(siblings) > _MAX_FILES:
        raise IntegrityError(f"{source} has {len(siblings)} files")
    check_paths((str(sibling.rfilename) for sibling in siblings), source)
    files = []
    for sibling in siblings:
        lfs = sibling.lfs
        size: object = lfs.size if lfs is not None else sibling.size
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise IntegrityError(f"{source} has no size for a file", detail=sibling.rfilename)
        sha256 = check_sha256(lfs.sha256, source) if lfs is not None else None
        git_sha1 = check_sha1(sibling.blob_id, source) if lfs is None and sibling.blob_id is not None else None
        files.append(HubFile(sibling.rfilename, size, sha256, git_sha1))
    header = info.gguf if isinstance(info.gguf, dict) else {}
    return Listing(
        repo=answered,
        commit=check_sha1(info.sha or "", source),
        files=tuple(sorted(files, key=lambda file: file.path)),
        gated=bool(info.gated),
        license=_find_license(info),
        task=info.pipeline_tag if isinstance(info.pipeline_tag, str) else None,
        parameters=_positive(header.get("total")),
        context_tokens=_positive(header.get("context_length")),
    )


def _find_license(info: ModelInfo) -> str | None:
    tags: list[object] = [*(info.tags or [])]
    licenses = [tag for tag in tags if isinstance(tag, str) and tag.startswith("license:")]
    return make_inert(licenses[0].removeprefix("license:"))[:80] if licenses else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def describe(name: ModelName, *, offline: bool = False, report: Callable[[Progress], None] = ignore) -> Model:
    """The model that `hf:org/repo[:file][@revision]` names; its variants are the builds there that can be run.

    Offline, they are those that are on this disk.

    Raises:
        NetworkError: offline, and nothing of this repository is installed.
        UnknownNameError: no such repository, revision or file, or nothing in it that can be run.
        LicenseError, IntegrityError: as in `read_listing`.
    """
    repo = name.repo
    if repo is None:
        raise UnknownNameError("This is not the name of a repository", hint="Write hf:ORGANISATION/REPOSITORY.")
    full = f"hf:{repo}@{name.revision}" if name.revision else f"hf:{repo}"
    if offline:
        named = (model for model in manifest.find_all() if model.name.lower() == full.lower())
        found = revisions.keep_current(named)
        if not found:
            raise NetworkError(
                f"`{full}` is not installed, and --offline forbids looking for it",
                hint=f"Run `lf pull {full}` with a connection.",
            )
        return builds.describe_installed(found, name.file)
    endpoint = find_endpoint()
    listing = read_listing(repo, name.revision, endpoint=endpoint, report=report)
    return builds.describe_listing(listing, name.revision, name.file, endpoint.repo_url(listing.repo))
