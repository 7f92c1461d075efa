"""`lf env`: the variables by which programs find the server."""

from __future__ import annotations

from typing import Annotated

import typer

from localfirst.errors import UsageError

NO_KEY = "unused"
"""Clients want a key, also of a server that asks for none."""
FORMS = {
    "bash": "export {name}='{value}'",
    "fish": "set -gx {name} '{value}'",
    "pwsh": "$env:{name} = '{value}'",
}
"""A line that sets a variable, by shell. Neither addresses nor keys have a quote in them."""


def env(
    shell: Annotated[
        str, typer.Argument(metavar="[bash|fish|pwsh]", help="The shell; zsh and sh read bash's.", show_default=False)
    ] = "bash",
) -> None:
    """Print the variables by which programs find the server.

    Those that OpenAI's, Anthropic's and Ollama's clients read, with the server's key where it has one. Set them by
    `eval "$(lf env)"`, in fish by `lf env fish | source`, in PowerShell by:

    lf env pwsh | Out-String | Invoke-Expression
    """
    from localfirst.cli import output
    from localfirst.server.background import read_key
    from localfirst.server.found import find_server

    if shell not in FORMS:
        raise UsageError(f"There is no form for `{shell}`", hint=f"There is one for {', '.join(FORMS)}")
    record = find_server()
    if record.socket:
        raise UsageError(
            "The server listens at a socket, which these clients cannot be told by variables",
            hint="Start one at a port: `lf server restart --port 12060`",
        )
    values = make_variables(record.url, read_key(record))
    output.print_text("".join(FORMS[shell].format(name=name, value=value) + "\n" for name, value in values.items()))


def make_variables(url: str, key: str | None) -> dict[str, str]:
    """The variables, by name.

    Anthropic's clients read a key or a token; both are set, so that no real key of theirs is sent here.
    """
    root = url.removesuffix("/v1")
    shown = key or NO_KEY
    return {
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": shown,
        "ANTHROPIC_BASE_URL": root,
        "ANTHROPIC_API_KEY": shown,
        "ANTHROPIC_AUTH_TOKEN": shown,
        "OLLAMA_HOST": root,
    }
