"""The server of `pull_speed`: a hub with one repository of one file, in one process; sends by `sendfile`.

    python -m benchmarks.pull_speed_server FILE SHA256

Prints the port that it listens on, on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path

from benchmarks.pull_speed import COMMIT, FILE


def main() -> None:
    """Serve until killed."""
    path, sha256 = Path(sys.argv[1]), sys.argv[2]
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client, path, sha256), daemon=True).start()


def serve(client: socket.socket, path: Path, sha256: str) -> None:
    """Answer one request after another."""
    received = b""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client, path.open("rb") as file:
        while True:
            while b"\r\n\r\n" not in received:
                if not (block := client.recv(65536)):
                    return
                received += block
            head, _, received = received.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
            method, target, _ = lines[0].split(" ")
            try:
                if "/resolve/" in target:
                    send_file(client, file.fileno(), path.stat().st_size, sha256, method, headers.get("range", ""))
                else:
                    send_listing(client, path.stat().st_size, sha256)
            except OSError:
                return


def send_listing(client: socket.socket, size: int, sha256: str) -> None:
    """What the hub's API says of the repository."""
    lfs = {"size": size, "sha256": sha256, "pointerSize": 134}
    sibling = {"rfilename": FILE, "size": size, "blobId": COMMIT, "lfs": lfs}
    body = json.dumps({"id": "org/model", "sha": COMMIT, "tags": [], "siblings": [sibling]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)


def send_file(client: socket.socket, file: int, size: int, sha256: str, method: str, asked: str) -> None:  # noqa: PLR0913, PLR0917
    """The file, or the range of it that was asked for."""
    start, _, last = asked.removeprefix("bytes=").partition("-") if asked else ("0", "", "")
    offset, end = int(start), int(last) + 1 if last else size
    head = (
        f"HTTP/1.1 {'206 Partial Content' if asked else '200 OK'}\r\nContent-Length: {end - offset}\r\n"
        f'ETag: "{sha256}"\r\nX-Linked-Etag: "{sha256}"\r\nX-Linked-Size: {size}\r\nX-Repo-Commit: {COMMIT}\r\n'
        f"{f'Content-Range: bytes {offset}-{end - 1}/{size}' if asked else 'Accept-Ranges: bytes'}\r\n\r\n"
    )
    client.sendall(head.encode())
    while method == "GET" and offset < end:
        offset += os.sendfile(client.fileno(), file, offset, min(2**22, end - offset))


if __name__ == "__main__":
    main()
