"""`zoo pull vgg16` beside `curl`, `openssl dgst -sha256` and `sync`: time, memory, and bytes after a kill half-way.

    python benchmarks/pull.py [--rounds 5] [--megabytes 528]

A loopback server, a process of its own, has one file of random bytes; the user's own registry calls it vgg16 and says
its sha256. Each round fetches it both ways in turn, into the same file system; medians are compared. At most 1.2 is the
aim. Then a pull is killed half-way and run again: at most 1.02 files on the wire in all is the aim.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ZOO = str(Path(sys.executable).with_name("zoo"))
PUBLISHED = "https://storage.googleapis.com/"


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends one file, or what follows a byte of it, as fast as the kernel can, and counts what it sent."""

    protocol_version = "HTTP/1.1"
    path_of_file: Path
    sent: Any
    rate: Any

    def do_GET(self) -> None:
        """Answers."""
        size = self.path_of_file.stat().st_size
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(size - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        with self.path_of_file.open("rb") as file:
            while start < size:
                try:
                    count = os.sendfile(self.connection.fileno(), file.fileno(), start, 1 << 20)
                except OSError:
                    return
                start += count
                with self.sent.get_lock():
                    self.sent.value += count
                if self.rate.value:
                    time.sleep(count / self.rate.value)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def listen(path: Path, port: Any, sent: Any, rate: Any) -> None:
    """Serves until it is ended."""
    Handler.path_of_file, Handler.sent, Handler.rate = path, sent, rate
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.value = server.server_port
    server.serve_forever()


def timed(*commands: list[str], **more: Any) -> tuple[float, int]:
    """Returns the wall time of commands one after the other, and the largest peak memory among them (bytes)."""
    began, peak = time.perf_counter(), 0
    for command in commands:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0, (command, status)
        peak = max(peak, usage.ru_maxrss * 1024)
    return time.perf_counter() - began, peak


def main() -> None:
    """Runs the rounds and prints medians, ratio, memory and bytes on the wire."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=528, help="of 2**20 bytes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        measure(Path(name), options.rounds, options.megabytes << 20)


def measure(folder: Path, rounds: int, size: int) -> None:
    """Measures in `folder`."""
    served = folder / "served"
    with served.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    with served.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    port, sent, rate = multiprocessing.Value("i", 0), multiprocessing.Value("q", 0), multiprocessing.Value("d", 0)
    server = multiprocessing.Process(target=listen, args=(served, port, sent, rate), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{port.value}/"
    home = folder / "home"
    environment = {**os.environ, "ZOO_HOME": str(home), "ZOO_MIRROR": f"{PUBLISHED}={url}"}
    environment.pop("ZOO_OFFLINE", None)

    def fresh_home() -> None:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        spec = {"role": "weights", "name": "vgg16.h5", "urls": [PUBLISHED + "vgg16.h5"], "hash": f"sha256:{digest}",
                "hash_from": "publisher", "bytes": size}  # fmt: skip
        entry = {"source": "keras", "task": "image-classification", "summary": "Of the size of VGG16.",
                 "files": [spec], "input": None, "output": {}, "metrics": {}}  # fmt: skip
        (home / "registry.json").write_text(json.dumps({"schema": 1, "models": {"vgg16": entry}}))

    ours, theirs = [], []
    for _ in range(rounds):
        copy = folder / "copy"
        commands = [["curl", "-s", "-o", str(copy), url + "vgg16.h5"], ["openssl", "dgst", "-sha256", str(copy)],
                    ["sync", str(copy)]]  # fmt: skip
        theirs.append(timed(*commands))
        copy.unlink()
        fresh_home()
        ours.append(timed([ZOO, "pull", "vgg16"], env=environment))
        assert (home / "blobs" / "sha256" / digest).stat().st_size == size
    median, reference = (statistics.median(seconds for seconds, _ in each) for each in (ours, theirs))
    print(f"{size:,} bytes, {rounds} rounds, medians")
    print(f"curl; openssl; sync  {reference:6.2f} s   ({', '.join(f'{seconds:.2f}' for seconds, _ in theirs)})")
    print(f"zoo pull             {median:6.2f} s   ({', '.join(f'{seconds:.2f}' for seconds, _ in ours)})")
    print(f"ratio                {median / reference:6.2f}")
    print(f"peak memory          {max(peak for _, peak in ours) / 1e6:6.0f} MB")

    fresh_home()
    sent.value, rate.value = 0, size / 4  # slow enough to be caught half-way
    child = subprocess.Popen([ZOO, "pull", "vgg16"], env=environment, stderr=subprocess.DEVNULL)
    while sent.value < size // 2:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    rate.value = 0
    timed([ZOO, "pull", "vgg16"], env=environment)
    print(f"files on the wire after a kill -9 half-way and a second pull: {sent.value / size:.4f}")
    server.terminate()


if __name__ == "__main__":
    main()
