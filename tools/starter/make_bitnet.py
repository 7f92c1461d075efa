"""Write `starter/bitnet/answer-tq2_0.gguf`: a repacked BitNet file that knows one answer, to test the engine with.

`python -m tools.starter.make_bitnet`, from the repository's root. Nobody trained it: it says `TEST_ANSWER` to whatever
it is asked, by way of its ternary weights, so that an engine that loads and changes graphs can be seen to work.
"""

from __future__ import annotations

from pathlib import Path

from tests.fixtures import scripted

from localfirst.paths import starter_dir
from localfirst.services.engines import TEST_ANSWER, TEST_FILES


def main() -> None:
    """Write it."""
    path = Path(starter_dir(), TEST_FILES["bitnet"])
    scripted.make_bitnet(path, TEST_ANSWER)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
