"""A web server on loopback that misbehaves on script, files for it to have, and what must hold after every fault."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from zoo.cli.main import cli

Act = Callable[["Handler", "Resource"], None]
DESCRIPTORS = Path("/proc/self/fd")


@dataclass
class Resource:
    """A file that the server has, and what it does in turn when asked for it; afterwards it serves it well."""

    data: bytes
    etag: str | None = '"one"'
    content_type: str = "application/octet-stream"
    script: list[Act] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    path: str
    headers: dict[str, str]
    when: float


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        web = self.server.web
        resource = web.files.get(self.path.partition("?")[0])
        with web.lock:
            web.seen.append(Seen(self.path, dict(self.headers.items()), time.monotonic()))
            act = resource.script.pop(0) if resource and resource.script else None
        if resource is None:
            reply(404, b"no such file")(self, Resource(b""))
        else:
            (act or serve)(self, resource)

    def send(self, status: int, body: bytes, headers: dict[str, Any], length: int | None = -1) -> None:
        """Sends a response; a `length` of None sends none and ends with the connection."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.body(body)

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        with self.server.web.lock:
            self.server.web.sent += len(data)

    def reset(self) -> None:
        """Ends the connection with a reset instead of a goodbye."""
        self.wfile.flush()
        time.sleep(0.05)  # what was sent before it must have come
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def asked_from(self) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else None

    def log_message(self, *_: Any) -> None:
        pass


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def handle_error(self, *_: Any) -> None:
        pass  # the client went away, as many tests want it to


def serve(handler: Handler, resource: Resource) -> None:
    """What a good server does: ranges, validators, lengths."""
    headers = {"Content-Type": resource.content_type, "Accept-Ranges": "bytes"}
    if resource.etag:
        headers["ETag"] = resource.etag
    start, total = handler.asked_from(), len(resource.data)
    unchanged = handler.headers.get("If-Range", resource.etag) == resource.etag
    if start is None or not unchanged:
        handler.send(200, resource.data, headers)
    elif start >= total:
        handler.send(416, b"", {**headers, "Content-Range": f"bytes */{total}"})
    else:
        handler.send(206, resource.data[start:], {**headers, "Content-Range": f"bytes {start}-{total - 1}/{total}"})


def reply(status: int, body: bytes = b"", **headers: Any) -> Act:
    """Answers with a status and headers (`Retry_After=1`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, resource: handler.send(status, body, {"Content-Type": "text/plain", **named})


def redirect(target: str, status: int = 302) -> Act:
    return reply(status, Location=target)


def cut(after: int, *, total: int | None = None, reset: bool = True) -> Act:
    """Sends the headers of a good answer, but only `after` bytes of its body."""

    def act(handler: Handler, resource: Resource) -> None:
        start = handler.asked_from() or 0
        size = len(resource.data)
        headers = {"ETag": resource.etag} if resource.etag else {}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        body = resource.data[start : start + after]
        handler.send(206 if start else 200, body, headers, length=(total or size) - start)
        handler.reset() if reset else handler.connection.shutdown(socket.SHUT_RDWR)

    return act


def whole(**changes: Any) -> Act:
    """Sends 200 and `data`, whatever range was asked for; `length=None` sends no length."""

    def act(handler: Handler, resource: Resource) -> None:
        headers = {"Content-Type": changes.get("content_type", resource.content_type)}
        if etag := changes.get("etag", resource.etag):
            headers["ETag"] = etag
        headers.update(changes.get("headers", {}))
        handler.send(200, changes.get("data", resource.data), headers, length=changes.get("length", -1))

    return act


def slow(data: int, pause: float, times: int) -> Act:
    """Sends the headers of a good answer, then `data` bytes each `pause` seconds, `times` times."""

    def act(handler: Handler, resource: Resource) -> None:
        start, size = handler.asked_from() or 0, len(resource.data)
        headers = {"ETag": resource.etag, "Content-Range": f"bytes {start}-{size - 1}/{size}"}
        handler.send(206 if start else 200, b"", headers, length=size - start)
        with contextlib.suppress(OSError):
            for number in range(times):
                handler.body(resource.data[start + number * data : start + (number + 1) * data])
                time.sleep(pause)
        handler.close_connection = True

    return act


class Web:
    """The server, what it has, and what it saw."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, Resource] = {}
        self.seen: list[Seen] = []
        self.sent = 0
        self.lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", 0), Handler)
        self._listener.web = self
        self._scheme = "http"
        if tls:
            self._listener.socket = tls.wrap_socket(self._listener.socket, server_side=True)
            self._scheme = "https"
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._listener.server_port}"

    def put(self, path: str, data: bytes, *script: Act, **more: Any) -> str:
        """Has a file at `path`, and returns its address."""
        self.files[path] = Resource(data, script=list(script), **more)
        return self.url + path

    def requests(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path.partition("?")[0] == path]

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same each time."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def hash_of(data: bytes, kind: str = "sha256") -> str:
    return f"{kind}:{hashlib.new(kind, data).hexdigest()}"


def file(data: bytes, *urls: str, name: str = "net.h5", role: str = "weights", **more: Any) -> dict[str, Any]:
    """One file of a model as a registry has it; without `hash` it is pinned by sha256."""
    hashed = more.pop("hash", hash_of(data))
    return {
        "role": role, "name": name, "urls": list(urls), "hash": hashed,
        "hash_from": "publisher" if hashed else None, "bytes": more.pop("bytes", len(data)), **more,
    }  # fmt: skip


def assert_invariants(home: Path) -> None:
    """What holds after every fault: blobs are what they are named, and records speak of whole blobs only."""
    blobs = home / "blobs" / "sha256"
    for blob in blobs.glob("*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    for record in (home / "artifacts").rglob("*.json"):
        for stored in json.loads(record.read_text())["files"]:
            assert (blobs / stored["blob"]).stat().st_size == stored["bytes"]


def listing(folder: Path, *but: Path) -> dict[str, str]:
    """Every file below `folder` and its digest, apart from what is below `but`."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(each) for each in but)
    }


def open_descriptors() -> int:
    return sum(1 for _ in DESCRIPTORS.iterdir())


def gzip_bomb(size: int) -> bytes:
    return gzip.compress(bytes(size))


def blobs_in(home: Path) -> list[Path]:
    return sorted((home / "blobs" / "sha256").glob("*"))


class Puller:
    """Runs `zoo pull` in this process, and checks what holds after every fault."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *words: str) -> Result:
        around = listing(self.home.parent, self.home)
        result = CliRunner().invoke(cli, ["pull", *words])
        assert listing(self.home.parent, self.home) == around, "something outside the store changed"
        assert_invariants(self.home)
        assert "Traceback" not in result.stderr
        assert "fault of zoo" not in result.stderr, result.stderr
        return result

    def succeeds(self, data: bytes, *words: str) -> Result:
        """Pulls `net`, and checks that exactly these bytes are kept, also when that is done again."""
        result = self.run("net", *words)
        assert result.exit_code == 0, result.stderr
        assert [path.read_bytes() for path in blobs_in(self.home)] == [data]
        assert list((self.home / "tmp").iterdir()) == []
        assert self.run("net", *words).exit_code == 0
        return result

    def fails(self, code: int, *told: str, words: Sequence[str] = (), again: bool = True) -> Result:
        """Pulls `net` in vain, and checks the message, and that a second pull says the same."""
        result = self.run("net", *words)
        assert result.exit_code == code, result.stderr
        assert all(each in result.stderr for each in ("net.h5", *told)), result.stderr
        assert blobs_in(self.home) == []
        if again:
            assert self.run("net", *words).exit_code == code
        return result
