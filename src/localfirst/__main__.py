"""`python -m localfirst`: the same as `lf`."""

from __future__ import annotations

from localfirst.cli import main

if __name__ == "__main__":
    main()
