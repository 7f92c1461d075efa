"""`python -m localfirst`: the same as `lf`, and where it begins."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run `lf`; Ctrl-C ends it as it ends every command, also before there is one that could hear it."""
    try:
        from localfirst import cli  # noqa: PLC0415 - what takes long at the start is to import

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
