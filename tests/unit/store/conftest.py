from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # so that `tests.fixtures` is found however pytest is started

from tests.fixtures.hub import hub  # noqa: F401 (a fixture)
