"""Which HTTP client hands on bytes fastest: the choice behind `store/net/wire.py`.

    python -m benchmarks.http_clients [--bytes 1000000000] [--rounds 3]

Run from the repository's root. Each client fetches the same file from the server of `pull_speed` in turns, in a process
of its own, and throws it away; nothing is verified. `http.client` is what the standard library can do, without
proxies, pools or time limits of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.pull_speed import COMMIT, FILE, start_server

COMMON = """
import os, sys, time
url, size = sys.argv[1], 0
descriptor = os.open(os.devnull, os.O_WRONLY)
"""
CLIENTS = {
    "http.client": """
import http.client
from urllib.parse import urlsplit
connection = http.client.HTTPConnection(urlsplit(url).netloc)
connection.request("GET", urlsplit(url).path)
response, buffer = connection.getresponse(), memoryview(bytearray(2**18))
begun, cpu = time.perf_counter(), time.process_time()
while count := response.readinto(buffer):
    size += os.write(descriptor, buffer[:count])
""",
    "urllib3": """
import urllib3
response = urllib3.PoolManager().request("GET", url, preload_content=False)
begun, cpu = time.perf_counter(), time.process_time()
while block := response.read1(2**18, decode_content=False):
    size += os.write(descriptor, block)
""",
    "httpx2": """
import httpx2
with httpx2.Client() as client, client.stream("GET", url) as response:
    begun, cpu = time.perf_counter(), time.process_time()
    for block in response.iter_raw():
        size += os.write(descriptor, block)
""",
}
END = """
print(size / (time.perf_counter() - begun), size / (time.process_time() - cpu))
"""


def main() -> None:
    """Print a line for each client, the fastest of the standard library first."""
    parser = argparse.ArgumentParser(description="Which HTTP client hands on bytes fastest")
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in CLIENTS}
    with tempfile.TemporaryDirectory() as folder, start_server(Path(folder), arguments.bytes) as url:
        for _ in range(arguments.rounds):
            for name, code in CLIENTS.items():
                file = f"{url}/org/model/resolve/{COMMIT}/{FILE}"
                command = [sys.executable, "-c", COMMON + code + END, file]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                wall, cpu = map(float, done.stdout.split())
                speeds[name].append((wall, cpu))
    for name, found in speeds.items():
        wall, cpu = (median(one) for one in zip(*found, strict=True))
        print(f"{name:12} {wall / 1e6:6.0f} MB/s, {cpu / 1e6:6.0f} MB for a second of processor")


if __name__ == "__main__":
    main()
