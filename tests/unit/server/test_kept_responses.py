"""What is kept of responses: the newest of them, within bounds."""

from __future__ import annotations

import pytest

from localfirst.errors import UnknownNameError
from localfirst.server.openai.responses import kept
from localfirst.server.openai.responses.kept import Kept, Said


def make_said(name: str, text: str = "") -> Said:
    item = {"type": "message", "id": f"msg_{name}", "role": "user", "content": text}
    return Said({"id": name, "output": [{"type": "message", "id": f"out_{name}"}]}, (item,), (item,))


def test_the_newest_are_kept_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 3)
    store = Kept()
    for name in "abcd":
        store.add(make_said(name))
    with pytest.raises(UnknownNameError):
        store.find("a")
    store.drop("c")
    monkeypatch.setattr(kept, "MOST_BYTES", 400)
    store.add(make_said("e", "x" * 200))
    assert store.find("e").response["id"] == "e"
    with pytest.raises(UnknownNameError):
        store.find("b")
    store.add(make_said("f", "x" * 500))  # is too large by itself
    with pytest.raises(UnknownNameError):
        store.find("f")
    store.add(make_said("g"))
    assert [item["id"] for item in store.find_items("g")] == ["msg_g", "out_g"]
