"""Which environment variables a process that `lf` starts inherits: all but those that would give a secret away.

An engine runs foreign files, an installer what packages bring, a compiler and a driver's tool are whatever the path
has: none of them needs the user's keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_OIDC_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "LF_REMOTE_KEY",
)  # fmt: skip
"""What opens a hub or a server in the user's name: a token, where one is kept, or what one is had for. Source:
huggingface_hub, `constants.py` and `_oidc.py`."""
STEERING = frozenset({"PYTHONPATH", "PYTHONHOME"})
"""By them another interpreter, or pip, would take packages from outside of its environment."""


def inherit(current: Mapping[str, str], *, leave: Collection[str] = ()) -> dict[str, str]:
    """The variables that a process gets of `current`; `leave` names more that it does not."""
    return {name: value for name, value in current.items() if name not in SECRETS and name not in leave}
