"""What a bundle may bring."""

from __future__ import annotations

import pytest

from localfirst.errors import IntegrityError
from localfirst.runtimes.table import find_row
from localfirst.services.bundle_install import _refuse_unknown


def test_a_bundle_brings_no_engine_whose_digest_nobody_here_knows() -> None:
    _refuse_unknown([find_row("llama-cpu"), find_row("onnx-cpu")])
    with pytest.raises(IntegrityError, match="llama-cuda") as caught:
        _refuse_unknown([find_row("llama-cpu"), find_row("llama-cuda")])
    assert "--trust-engines" in (caught.value.hint or "")
