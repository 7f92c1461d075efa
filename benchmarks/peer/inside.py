"""Peers that are libraries, in a process of their own: run by the interpreter that has them, with nothing of lf in it.

    PYTHON inside.py xllamacpp MODEL PORT THREADS CONTEXT     serves HTTP until it is ended
    PYTHON inside.py foundry FOLDER WORK THREADS CONTEXT      answers lines of standard input

For a line `{"text": "...", "tokens": n}` there come lines `{"text": "..."}` as the answer does, and
`{"prompt_tokens": n, "tokens": n}` at its end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def serve_xllamacpp(model: str, port: str, threads: int, context: int) -> None:
    """llama.cpp's own server, as it is without further options."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = int(port)
    params.n_ctx, params.n_parallel = context, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = 1
    server = xllamacpp.Server(params)
    assert server.listening_address
    while True:
        time.sleep(3600)


def answer_foundry(model: str, work: str, threads: int, context: int) -> None:
    """A registered folder in a chat session of the SDK. At its start the SDK looks for its maker's catalog."""
    from foundry_local_sdk import (
        CatalogType,
        ChatSession,
        Configuration,
        FoundryLocalManager,
        MessageItem,
        ModelInfoBuilder,
        Request,
        RequestOptions,
        SearchOptions,
        TextItem,
    )

    answers = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - the library prints to standard output too
    FoundryLocalManager.initialize(
        Configuration("peers", app_data_dir=work, logs_dir=f"{work}/logs", disable_nonessential_telemetry=True)
    )
    catalog = FoundryLocalManager.instance.get_catalog(CatalogType.LOCAL)
    with ModelInfoBuilder() as described:
        described.set_string_property("task", "chat-completion")
        one = catalog.register_model(
            link_folder(Path(model), Path(work, "model"), threads, context), "peers:1", described
        )
    one.load()
    answers.write(json.dumps({"loaded": True}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        search = SearchOptions(temperature=0.0, do_sample=False, max_output_tokens=asked["tokens"])
        with ChatSession(one) as session:
            session.set_options(RequestOptions(search=search))
            session.set_streaming(True)
            with (
                Request().add_item(MessageItem.user(asked["text"])) as request,
                session.process_streaming_request(request) as response,
            ):
                for item in response:
                    if isinstance(item, TextItem):
                        answers.write(json.dumps({"text": item.text}) + "\n")
                usage = response.final_response.get_usage()
        told = {"prompt_tokens": usage.prompt_tokens, "tokens": usage.completion_tokens}
        answers.write(json.dumps(told) + "\n")


def link_folder(model: Path, folder: Path, threads: int, context: int) -> str:
    """A folder with the same files, whose configuration says how many threads: the SDK has no option for that."""
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    config = json.loads((model / "genai_config.json").read_text(encoding="utf-8"))
    config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
    config["search"]["max_length"] = context
    (folder / "genai_config.json").unlink()
    (folder / "genai_config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


RUN = {"xllamacpp": serve_xllamacpp, "foundry": answer_foundry}

if __name__ == "__main__":
    RUN[sys.argv[1]](*sys.argv[2:4], *map(int, sys.argv[4:]))
