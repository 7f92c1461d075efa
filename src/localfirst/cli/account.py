"""`lf login` and `lf logout`: the token that gated and private models need."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from localfirst.cli import options
from localfirst.cli.groups import make_app
from localfirst.errors import UsageError

_LONGEST = 10_000


def login(
    context: typer.Context,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from standard input.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say who is logged in, and ask for nothing.")] = False,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Log in to the hub.

    Gated and private models need a token: make one at https://huggingface.co/settings/tokens and type it where you are
    asked; it is not shown. The hub named by HF_ENDPOINT, else huggingface.co, says whose it is; then it is kept where
    the hub's own tools keep theirs.
    """
    from localfirst.cli import output
    from localfirst.cli.views import account as views
    from localfirst.services import account

    if context.args:  # and not Typer's own error, which repeats the word
        raise UsageError(
            "`lf login` takes no token as a word of the command: others on this machine can read it there",
            hint="Type `lf login`, or pipe it: `lf login --token-stdin < FILE`",
        )
    if status:
        _show_status(json=json, offline=offline)
        return
    account.require_network(offline=offline)
    done = account.log_in(_read_token(piped=token_stdin), offline=offline)
    output.print_report(lambda screen: views.render_login(done, screen), lambda: views.login_to_json(done), json=json)


# Words behind the command are taken as they are, so that no token gets into an error of Typer's.
login_app = make_app()
login_app.command("login", context_settings={"allow_extra_args": True})(login)


def _show_status(*, json: bool, offline: bool) -> None:
    from urllib.parse import urlsplit

    from localfirst.cli import output
    from localfirst.cli.views import account as views
    from localfirst.services import account
    from localfirst.store.net.endpoint import find_home

    found = account.find_login(offline=offline)
    if found is not None:
        output.print_report(
            lambda screen: views.render_login(found, screen), lambda: views.login_to_json(found), json=json
        )
        return
    home = find_home()
    output.print_report(
        lambda screen: views.render_nobody(urlsplit(home).netloc, screen),
        lambda: views.nobody_to_json(home),
        json=json,
    )
    raise typer.Exit(1)


def _read_token(*, piped: bool) -> str:
    """A token, typed unseen on a terminal or piped in.

    Raises:
        UsageError: there is neither, or nothing came.
    """
    if sys.stdin.isatty() and sys.stderr.isatty():
        token = _ask()
    elif piped:
        token = sys.stdin.buffer.read(_LONGEST).decode("utf-8", errors="replace").strip()
    else:
        raise UsageError("There is no terminal to type a token in", hint="Pipe it in: `lf login --token-stdin < FILE`")
    if not token:
        raise UsageError("No token was given", hint=f"Make one at {_find_page()}")
    return token


def _find_page() -> str:
    """Where the hub makes tokens."""
    from localfirst.store.net.endpoint import find_home

    return f"{find_home()}/settings/tokens"


def _ask() -> str:
    import warnings
    from getpass import GetPassWarning, getpass

    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return getpass(f"Make a token at {_find_page()}\nToken (it is not shown): ").strip()
        except GetPassWarning as error:
            raise UsageError(
                "This terminal would show what is typed", hint="Pipe it in: `lf login --token-stdin < FILE`"
            ) from error
        except EOFError:
            sys.stderr.write("\n")  # the line with the prompt has not ended
            return ""
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            raise


def logout(json: options.Json = False) -> None:
    """Log out of the hub.

    Forgets every token that is kept on this machine, by lf or by the hub's own tools. To withdraw one for good, see
    https://huggingface.co/settings/tokens.
    """
    from localfirst.cli import output
    from localfirst.cli.views import account as views
    from localfirst.services import account

    done = account.log_out()
    output.print_report(lambda screen: views.render_logout(done, screen), lambda: views.logout_to_json(done), json=json)
