"""A real `lf serve` outlives every model file that was damaged after it was taken in, and goes on to answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Lf
from tests.contract.backends.test_bad_files import GGUF_DAMAGES, LITERT_DAMAGES, SAFETENSORS_DAMAGES
from tests.fixtures import scripted
from tests.fixtures.attack import Wire, find_error
from tests.fixtures.engines import need_engine
from tests.fixtures.serving import REPLY, serving

NATIVE = {
    "an architecture that nobody knows": lambda content: content.replace(b"llama", b"lhama"),
    "a tensor under another name": lambda content: content.replace(b"blk.0.attn_q.weight", b"blk.0.attn_x.weight"),
}
"""What only llama.cpp itself refuses."""
FORMATS = {
    "gguf": ("xllamacpp", "model.gguf", scripted.make_gguf, "model.gguf", GGUF_DAMAGES | NATIVE),
    "mlx": ("mlx", "model", scripted.make_mlx, "model/model.safetensors", SAFETENSORS_DAMAGES),
    "litert": ("litert", "model.litertlm", scripted.make_litert, "model.litertlm", LITERT_DAMAGES),
}
"""The engine, what is imported, its maker, the file that is damaged, and how."""
CHAT = "/v1/chat/completions"


def believe(lf: Lf, file: Path) -> None:
    """Let the store take the file for what it took in: one of another size is gone for it, and nobody looks."""
    (manifest,) = [one for one in lf.home.rglob("manifest.json") if "broken" in str(one)]
    said = json.loads(manifest.read_text())
    (entry,) = [one for one in said["files"] if Path(one["path"]).name == file.name]
    entry["size_bytes"] = file.stat().st_size
    manifest.write_text(json.dumps(said))


@pytest.mark.parametrize("kind", FORMATS)
def test_no_damaged_file_ends_the_server(lf: Lf, tmp_path: Path, kind: str) -> None:
    engine, name, make, damaged, damages = FORMATS[kind]
    need_engine(engine)
    need_engine("xllamacpp")
    make(tmp_path / name, REPLY)
    scripted.make_gguf(tmp_path / "sound.gguf", REPLY)
    for source, model in ((name, "broken"), ("sound.gguf", "sound")):
        done = lf("model", "import", str(tmp_path / source), "--name", model)
        assert done.returncode == 0, done.stderr
    file = tmp_path / damaged
    content = file.read_bytes()
    body = {"messages": [{"role": "user", "content": "hi"}]}
    with serving(lf, "--keep-alive", "0s") as server, Wire(server) as wire:
        for what, damage in damages.items():
            file.write_bytes(damage(content))
            believe(lf, file)
            got = wire.post(CHAT, body | {"model": "broken"})
            assert got.status in {500, 503}, (what, got.body)
            assert find_error(CHAT, got)
            assert "Something went wrong" not in find_error(CHAT, got), what
        sound = wire.post(CHAT, body | {"model": "sound"}).read_json()
        assert sound["choices"][0]["message"]["content"] == REPLY
        assert wire.ask("GET", "/v1/models").status == 200
        log = server.stop()
    assert "internal error" not in log
