"""`lf completion`: the script that lets a shell ask `lf` for its words.

The scripts speak the protocol that Typer answers when `_LF_COMPLETE` is set; see `localfirst.cli`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

SCRIPTS = {
    "bash": """\
# lf completion for bash. In ~/.bashrc:  eval "$(lf completion bash)"
_lf_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _LF_COMPLETE=complete_bash lf) )
}
COMP_WORDBREAKS=${COMP_WORDBREAKS/@/}  # model@build is one word, as npm's package@version is
complete -o default -F _lf_completion lf
""",
    "zsh": """\
#compdef lf
# lf completion for zsh. In ~/.zshrc, after compinit:  eval "$(lf completion zsh)"
_lf_completion() {
    eval "$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _LF_COMPLETE=complete_zsh lf)"
}
compdef _lf_completion lf
""",
    "fish": """\
# lf completion for fish:  lf completion fish > ~/.config/fish/completions/lf.fish
complete --command lf --no-files --arguments "(env _LF_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
_TYPER_COMPLETE_ARGS=(commandline -cp) lf)" --condition "env _LF_COMPLETE=complete_fish \
_TYPER_COMPLETE_FISH_ACTION=is-args _TYPER_COMPLETE_ARGS=(commandline -cp) lf"
""",
}


class Shell(StrEnum):
    """Shells with a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.", show_default=False)],
) -> None:
    """Print the completion script of a shell.

    The script itself says where it goes.
    """
    from localfirst.cli import output

    output.print_text(SCRIPTS[shell.value])
