"""Every way in which a download can go wrong, on a real server that does it; the invariants are checked after each.

The numbers in the tests' names are those of the project's table of faults.
"""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from loopback import Puller, Web, blobs_in, content, cut, file, gzip_bomb, hash_of, redirect, reply, slow, whole

from zoo.store.partial import Origin, open_partial
from zoo.store.planning import Wanted

DATA = content(3 << 20)  # more than one chunk, and more than sockets buffer
OLD = content(3 << 20, seed=1)
AddModel = Callable[..., None]


@pytest.fixture
def net(web: Web, add_model: AddModel) -> Callable[..., str]:
    """Returns a function that gives the server a script and the registry the model `net`."""

    def make(*script: Any, hash: str | None = hash_of(DATA), bytes: int | None = len(DATA), **more: Any) -> str:
        url = web.put("/net.h5", more.pop("data", DATA), *script, **more)
        add_model("net", file(DATA, url, hash=hash, bytes=bytes))
        return url

    return make


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    """A certificate authority that requests trusts."""
    made = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return made


def secured(authority: trustme.CA) -> Web:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return Web(context)


@pytest.fixture
def tls_web(authority: trustme.CA) -> Iterator[Web]:
    server = secured(authority)
    yield server
    server.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ranges(web: Web) -> list[str | None]:
    return [seen.headers.get("Range") for seen in web.requests("/net.h5")]


def test_a_good_download_is_one_request_for_the_bare_bytes(net: Any, web: Web, puller: Puller) -> None:
    net()
    puller.succeeds(DATA)
    (seen,) = web.seen
    assert seen.headers["Accept-Encoding"] == "identity"
    assert "Range" not in seen.headers
    assert web.sent == len(DATA)


def test_d01_a_refused_connection_is_tried_a_bounded_number_of_times(add_model: AddModel, puller: Puller) -> None:
    urls = [f"http://127.0.0.1:{closed_port()}/net.h5" for _ in range(2)]
    add_model("net", file(DATA, *urls))
    result = puller.fails(3, "connection refused", *urls, again=False)
    assert result.stderr.count("trying again") == 2 * 2  # at each of two addresses three tries


def test_d01_a_name_that_nobody_knows(add_model: AddModel, puller: Puller) -> None:
    add_model("net", file(DATA, "https://nowhere.invalid/net.h5"))
    puller.fails(3, "https://nowhere.invalid/net.h5", "run the same command again")


@pytest.mark.parametrize("at", [0, 1, len(DATA) // 2, len(DATA) - 1])
def test_d02_a_reset_is_taken_up_where_it_broke(at: int, net: Any, web: Web, puller: Puller) -> None:
    net(cut(at))
    puller.succeeds(DATA)
    assert ranges(web)[1] in ((None,) if at == 0 else (f"bytes={at}-",))
    assert web.sent < 2 * len(DATA)


def test_d02_a_connection_that_breaks_again_and_again_gets_there(net: Any, web: Web, puller: Puller) -> None:
    """More often than the three tries that are allowed without headway: each connection brings a megabyte."""
    data = content(6 << 20)
    net(*[cut(1 << 20)] * 5, data=data, hash=hash_of(data), bytes=len(data))
    puller.succeeds(data)
    assert len(web.seen) == 6


@pytest.mark.parametrize("reset", [True, False])
def test_d03_a_body_shorter_than_its_length_is_resumed(reset: bool, net: Any, web: Web, puller: Puller) -> None:
    net(cut(len(DATA) - 1, reset=reset))
    puller.succeeds(DATA)
    assert ranges(web) == [None, f"bytes={len(DATA) - 1}-"]


def test_d03_a_body_that_is_always_short_is_never_committed(net: Any, puller: Puller) -> None:
    net(*[whole(data=DATA[:-1], length=len(DATA))] * 20, etag=None)
    puller.fails(3, "net.h5", "trying again")


def test_d04_an_early_end_without_a_length_is_noticed(net: Any, puller: Puller) -> None:
    net(*[whole(data=DATA[:1000], length=None)] * 20, etag=None)
    puller.fails(4, f"of {len(DATA)} bytes came")


def test_d04_without_a_known_size_the_hash_notices(net: Any, puller: Puller) -> None:
    net(*[whole(data=DATA[:1000], length=None)] * 20, etag=None, bytes=None)
    puller.fails(4, hash_of(DATA)[7:])


def test_d05_a_server_that_ignores_ranges_starts_again_from_0(net: Any, web: Web, puller: Puller) -> None:
    net(cut(1000), whole())
    puller.succeeds(DATA)
    assert ranges(web) == [None, "bytes=1000-"]


def wrong_range(handler: Any, resource: Any) -> None:
    headers = {"ETag": '"one"', "Content-Range": f"bytes 7-{len(DATA) - 1}/{len(DATA)}"}
    handler.send(206, resource.data[7:], headers)


def wrong_total(handler: Any, resource: Any) -> None:
    start = handler.asked_from() or 0
    headers = {"ETag": '"one"', "Content-Range": f"bytes {start}-{len(DATA)}/{len(DATA) + 1}"}
    handler.send(206, resource.data[start:] + b"x", headers)


@pytest.mark.parametrize("act", [wrong_range, wrong_total])
def test_d06_a_wrong_range_restarts_once(act: Any, net: Any, web: Web, puller: Puller) -> None:
    net(cut(1000), act)
    puller.succeeds(DATA)
    assert ranges(web) == [None, "bytes=1000-", None]


@pytest.mark.parametrize("act", [wrong_range, wrong_total])
def test_d06_wrong_ranges_again_and_again_end_with_4(act: Any, net: Any, puller: Puller) -> None:
    net(cut(1000), *[act] * 20)
    puller.fails(4, "is not the file that was meant", "--mirror")


@pytest.mark.parametrize("pinned", [True, False])
def test_d07_a_file_that_changed_meanwhile_starts_again(
    pinned: bool, web: Web, add_model: AddModel, puller: Puller
) -> None:
    """Without a published hash, nothing but the validator keeps the halves of two files apart."""
    hash = hash_of(DATA) if pinned else None
    url = web.put("/net.bin", DATA, etag='"two"')

    def old_half(handler: Any, resource: Any) -> None:
        handler.send(200, OLD[:1000], {"ETag": '"one"'}, length=len(OLD))
        handler.reset()

    web.files["/net.bin"].script.append(old_half)
    add_model("net", file(DATA, url, name="net.bin", hash=hash))
    puller.succeeds(DATA)
    assert [(seen.headers.get("Range"), seen.headers.get("If-Range")) for seen in web.seen] == [
        (None, None), ("bytes=1000-", '"one"'),
    ]  # fmt: skip


def test_d07_a_server_that_ignores_the_validator_is_found_out_by_its_answer(
    web: Web, add_model: AddModel, puller: Puller
) -> None:
    """It sends the rest of another file of the same size; without a hash, nothing else would tell."""
    url = web.put("/net.bin", DATA, etag='"two"')

    def old_half(handler: Any, resource: Any) -> None:
        handler.send(200, OLD[:1000], {"ETag": '"one"'}, length=len(OLD))
        handler.reset()

    def new_rest(handler: Any, resource: Any) -> None:
        headers = {"ETag": '"two"', "Content-Range": f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"}
        handler.send(206, DATA[1000:], headers)

    web.files["/net.bin"].script += [old_half, new_rest]
    add_model("net", file(DATA, url, name="net.bin", hash=None))
    puller.succeeds(DATA)
    assert [seen.headers.get("Range") for seen in web.seen] == [None, "bytes=1000-", None]


def leave_partial(home: Path, url: str, data: bytes, *, hash: str | None, etag: str | None, total: int | None) -> None:
    """Leaves what a killed process leaves."""
    wanted = Wanted("net.h5", (url,), hash)
    with open_partial(home / "tmp", wanted.key, frozenset({"sha256"}), "net.h5", pinned=hash is not None) as partial:
        partial.describe(Origin(url, etag, total))
        partial.append(data)


def test_d08_a_partial_that_is_whole_is_hashed_and_kept(net: Any, web: Web, home: Path, puller: Puller) -> None:
    """Its size is not known beforehand, so the server is asked, and has nothing more."""
    url = net(bytes=None)
    leave_partial(home, url, DATA, hash=hash_of(DATA), etag='"one"', total=None)
    puller.succeeds(DATA)
    assert (ranges(web), web.sent) == ([f"bytes={len(DATA)}-"], 0)


def test_d08_a_partial_that_is_whole_but_wrong_is_thrown_away(net: Any, web: Web, home: Path, puller: Puller) -> None:
    url = net(bytes=None)
    leave_partial(home, url, OLD, hash=hash_of(DATA), etag='"one"', total=None)
    puller.succeeds(DATA)
    assert ranges(web) == [f"bytes={len(DATA)}-", None]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_d09_without_a_strong_validator_the_hash_allows_resuming(
    etag: str | None, net: Any, web: Web, puller: Puller
) -> None:
    net(cut(1000), etag=etag)
    puller.succeeds(DATA)
    assert [(seen.headers.get("Range"), seen.headers.get("If-Range")) for seen in web.seen] == [
        (None, None), ("bytes=1000-", None),
    ]  # fmt: skip


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_d09_without_validator_and_hash_it_starts_again(
    etag: str | None, web: Web, add_model: AddModel, puller: Puller
) -> None:
    add_model("net", file(DATA, web.put("/net.h5", DATA, cut(1000), etag=etag), name="net.bin", hash=None))
    puller.succeeds(DATA)
    assert ranges(web) == [None, None]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("dated", [False, True])
def test_d10_a_server_that_asks_to_wait_is_waited_for(
    status: int, dated: bool, net: Any, web: Web, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks for is capped: at half a second here, at two minutes for users."""
    waits: list[float] = []
    monkeypatch.setattr("zoo.store.download.time.sleep", waits.append)
    asked = email.utils.format_datetime(email.utils.localtime()) if dated else "0"
    far = email.utils.formatdate(time.time() + 3600, usegmt=True) if dated else "3600"
    net(reply(status, Retry_After=asked), reply(status, Retry_After=far))
    result = puller.succeeds(DATA)
    assert waits == [0.0, 0.5]
    assert f"HTTP {status}" in result.stderr
    assert len(web.seen) == 3


@pytest.mark.parametrize("status", [404, 410])
def test_d11_a_file_that_is_gone_is_looked_for_elsewhere(
    status: int, web: Web, other_web: Web, add_model: AddModel, puller: Puller
) -> None:
    gone = web.put("/net.h5", DATA, *[reply(status)] * 9)
    add_model("net", file(DATA, gone, other_web.put("/net.h5", DATA)))
    assert f"HTTP {status}" in puller.succeeds(DATA).stderr
    assert len(web.seen) == 1


def test_d11_a_file_that_is_gone_everywhere(net: Any, web: Web, puller: Puller) -> None:
    net(*[reply(404)] * 9)
    puller.fails(3, "HTTP 404", web.url, again=False)
    assert len(web.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("token", [None, "s3cret-value"])
def test_d12_a_refusal_says_which_credential_was_sent_but_not_its_value(
    status: int, token: str | None, net: Any, web: Web, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    net(*[reply(status)] * 9)
    if token:
        monkeypatch.setenv("ZOO_TOKEN", token)
    mirror = f"{web.url}/={web.url}/"
    result = puller.fails(3, f"HTTP {status}", "ZOO_TOKEN", words=["--mirror", mirror], again=False)
    assert "s3cret-value" not in result.stderr + result.stdout
    assert [seen.headers.get("Authorization") for seen in web.seen] == [token and f"Bearer {token}"]


def test_d12_a_password_in_a_mirrors_address_is_sent_and_never_shown(net: Any, web: Web, puller: Puller) -> None:
    net(*[reply(403)] * 9)
    mirror = f"{web.url}/={web.url.replace('//', '//me:s3cret@')}/"
    result = puller.fails(3, "ZOO_MIRROR", words=["--mirror", mirror], again=False)
    assert "s3cret" not in result.stderr
    assert web.seen[0].headers["Authorization"].startswith("Basic ")


def test_d13_a_server_in_trouble_is_asked_again(net: Any, puller: Puller) -> None:
    net(reply(500), reply(502))
    result = puller.succeeds(DATA)
    assert "HTTP 500; trying again" in result.stderr
    assert "HTTP 502; trying again" in result.stderr


def test_d14_silence_ends_a_connection_and_the_next_goes_on(net: Any, web: Web, puller: Puller) -> None:
    net(slow(1000, 2.0, 2))  # longer than the 0.3 s without a byte that are allowed
    puller.succeeds(DATA)
    assert ranges(web) == [None, "bytes=1000-"]


def test_d14_a_trickle_ends_a_connection_and_the_next_goes_on(net: Any, web: Web, puller: Puller) -> None:
    net(slow(10, 0.05, 40))  # 200 bytes a second, where 2,000 must come; a byte comes often enough
    puller.succeeds(DATA)
    first, second = ranges(web)
    assert first is None
    assert second is not None
    assert 10 <= int(second[6:-1]) < 400  # it went on behind what had come, and did not wait for all of it


@pytest.mark.parametrize("line", [b"X-Slow: %d\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_d14_headers_that_never_end_end_a_connection(line: bytes, net: Any, web: Web, puller: Puller) -> None:
    """A line comes often enough: for 3 s, where headers may take 0.6 s."""

    def slow_headers(handler: Any, resource: Any) -> None:
        handler.close_connection = True
        if b"100" not in line:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(60):
            handler.wfile.write(line % number if b"%d" in line else line)
            time.sleep(0.05)

    net(slow_headers)
    puller.succeeds(DATA)
    assert len(web.seen) == 2
    assert web.seen[1].when - web.seen[0].when < 2


@pytest.mark.parametrize("kind", ["size of a chunk", "trailers"])
def test_d14_a_chunked_body_that_never_ends_ends_a_connection(kind: str, net: Any, web: Web, puller: Puller) -> None:
    """Bytes come, but none of the file: for 4 s, where 0.6 s are allowed."""

    def endless(handler: Any, resource: Any) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3e8\r\n" + DATA[:1000] + b"\r\n")
        handler.wfile.write(b"5;" if kind == "size of a chunk" else b"0\r\n")
        for _ in range(80):
            handler.wfile.write(b"a" if kind == "size of a chunk" else b"X-Slow: a\r\n")
            time.sleep(0.05)

    net(endless)
    puller.succeeds(DATA)
    assert web.seen[1].when - web.seen[0].when < 3


def test_d15_one_flipped_bit_is_asked_for_once_more(net: Any, web: Web, puller: Puller) -> None:
    flipped = DATA[:-1] + bytes([DATA[-1] ^ 1])
    net(whole(data=flipped))
    puller.succeeds(DATA)
    assert ranges(web) == [None, None]


def test_d15_a_file_that_stays_wrong_shows_both_hashes(net: Any, web: Web, home: Path, puller: Puller) -> None:
    flipped = DATA[:-1] + bytes([DATA[-1] ^ 1])
    net(data=flipped)
    puller.fails(4, hash_of(DATA)[7:], hash_of(flipped)[7:], again=False)
    assert len(web.seen) == 2
    assert [path for path in (home / "tmp").rglob("data") if path.stat().st_size] == []


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha384"])
def test_d15_older_hashes_are_checked_too(kind: str, net: Any, puller: Puller) -> None:
    net(hash=hash_of(DATA, kind), data=OLD)
    puller.fails(4, f"expected {kind}")


PAGE = b"\n<!DOCTYPE html><html><body>Log in to the hotel's network</body></html>"


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("length", [-1, None])
def test_d16_a_page_for_people_is_no_model(pinned: bool, length: int | None, net: Any, puller: Puller) -> None:
    pinning = {} if pinned else {"hash": None, "bytes": None}
    net(*[whole(data=PAGE, content_type="text/html", length=length)] * 9, **pinning)
    puller.fails(4, "text/html")


def test_d16_without_a_hash_a_file_must_at_least_begin_as_it_should(net: Any, puller: Puller) -> None:
    net(hash=None, bytes=None)  # random bytes, called net.h5
    puller.fails(4, "does not begin as net.h5 must")


def test_d17_redirects_are_followed_to_a_limit(net: Any, web: Web, puller: Puller) -> None:
    for number in range(10):
        web.put(f"/hop{number}", b"", redirect(f"/hop{number + 1}" if number < 9 else "/file"))
    web.put("/file", DATA)
    net(redirect("/hop1"))
    puller.succeeds(DATA)
    assert len(web.seen) == 11


def test_d17_a_redirect_loop_ends(net: Any, web: Web, puller: Puller) -> None:
    net(*[redirect("/net.h5")] * 60)
    puller.fails(3, "more than 10 redirects", again=False)
    assert len(web.seen) == 11


@pytest.mark.parametrize("target", ["", "http://127.0.0.1:99999/", "http://[bad/"])
def test_d17_a_redirect_that_leads_nowhere(target: str, net: Any, puller: Puller) -> None:
    net(*[redirect(target)] * 9)
    puller.fails(3, "leads nowhere")


def test_d18_a_credential_stays_at_its_origin(
    net: Any, web: Web, other_web: Web, puller: Puller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another port is another origin; one that sends back where it came from does not get it back."""
    monkeypatch.setenv("ZOO_TOKEN", "s3cret")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    net(reply(302, Location="/again", Set_Cookie="key=s3cret"))
    web.put("/again", b"", redirect(other_web.put("/net.h5", DATA, redirect(web.put("/back", DATA)))))
    puller.succeeds(DATA, "--mirror", f"{web.url}/={web.url}/")
    sent = {seen.path: seen.headers for seen in web.seen + other_web.seen}
    assert {path: "Authorization" in headers for path, headers in sent.items()} == {
        "/net.h5": False, "/again": True, "/back": False,
    }  # fmt: skip
    assert web.seen[0].headers["Authorization"] == "Bearer s3cret"
    assert not any("Cookie" in seen.headers for seen in web.seen + other_web.seen)


def test_d17_the_body_of_a_redirect_is_not_read(net: Any, web: Web, puller: Puller) -> None:
    net(reply(302, bytes(64 << 20), Location=web.put("/file", DATA)))
    puller.succeeds(DATA)
    assert web.sent < 64 << 20


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/net.h5"])
def test_d19_redirects_to_other_protocols_are_refused(target: str, net: Any, puller: Puller) -> None:
    net(*[redirect(target)] * 9)
    puller.fails(3, "only https and http are spoken")


def test_d19_a_redirect_from_https_to_http_is_refused(
    tls_web: Web, web: Web, add_model: AddModel, puller: Puller
) -> None:
    """Even to loopback, and with a pinned hash."""
    plain = web.put("/net.h5", DATA)
    add_model("net", file(DATA, tls_web.put("/net.h5", DATA, *[redirect(plain)] * 9)))
    puller.fails(3, "from https to plain http", "was refused")
    assert web.seen == []


def test_d21_a_compressed_answer_is_refused_unread(net: Any, web: Web, puller: Puller) -> None:
    net(*[whole(data=gzip_bomb(len(DATA)), headers={"Content-Encoding": "gzip"})] * 9)
    puller.fails(4, "gzip", "not asked for")
    assert {seen.headers["Accept-Encoding"] for seen in web.seen} == {"identity"}


def test_d22_an_endless_body_ends_at_the_size(net: Any, web: Web, home: Path, puller: Puller) -> None:
    def endless(handler: Any, resource: Any) -> None:
        handler.send(200, resource.data, {"ETag": '"one"'}, length=None)
        for _ in range(200):  # 200 MiB more, were they read
            handler.body(bytes(1 << 20))

    net(*[endless] * 9)
    puller.fails(4, f"more than {len(DATA)} bytes came", again=False)
    assert web.sent < 100 << 20
    assert sum(path.stat().st_size for path in home.rglob("data")) == 0


def test_d23_a_certificate_of_nobody_is_refused(
    tls_web: Web, add_model: AddModel, puller: Puller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_model("net", file(DATA, tls_web.put("/net.h5", DATA)))
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger))
    result = puller.fails(3, "TLS", "certificate")
    assert "trying again" not in result.stderr
    assert tls_web.seen == []


def test_d23_a_trusted_certificate_is_accepted(tls_web: Web, add_model: AddModel, puller: Puller) -> None:
    add_model("net", file(DATA, tls_web.put("/net.h5", DATA)))
    puller.succeeds(DATA)


class NoSocket:
    def __init__(self, *_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")


@pytest.mark.parametrize("by", ["option", "environment"])
def test_d24_offline_what_is_here_is_found_without_a_socket(
    by: str, net: Any, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    net()
    puller.succeeds(DATA)
    monkeypatch.setattr(socket, "socket", NoSocket)
    monkeypatch.setattr(socket, "getaddrinfo", NoSocket)
    if by == "environment":
        monkeypatch.setenv("ZOO_OFFLINE", "1")
    puller.succeeds(DATA, *(["--offline"] if by == "option" else []))


def test_d25_offline_what_is_not_here_ends_at_once_and_lists_what_is(
    net: Any, add_model: AddModel, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    net()
    puller.run("net")
    monkeypatch.setattr(socket, "socket", NoSocket)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    add_model("other", file(OLD, "https://models.example/other.h5"))
    result = puller.run("other")
    assert result.exit_code == 3
    assert "other is not on this machine" in result.stderr
    assert "Here are: net." in result.stderr


def test_d26_a_corrupt_mirror_is_reported_and_the_next_one_used(
    web: Web, other_web: Web, add_model: AddModel, puller: Puller
) -> None:
    add_model("net", file(DATA, web.put("/net.h5", OLD), other_web.put("/net.h5", DATA)))
    result = puller.succeeds(DATA)
    assert f"{web.url}/net.h5: expected sha256" in result.stderr
    assert "asking once more" in result.stderr
    assert (len(web.seen), len(other_web.seen)) == (2, 1)


def lead_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a name lead to this machine that does not look like it."""
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **more: Any) -> Any:
        return real(host.replace("models.example", "127.0.0.1"), *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_plain_http_is_for_pinned_files_only(
    web: Web, add_model: AddModel, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Https is tried first, then what is allowed."""
    lead_here(monkeypatch)
    url = web.put("/net.h5", DATA).replace("127.0.0.1", "models.example")
    add_model("net", file(DATA, url, name="net.bin", hash=None))
    result = puller.run("net")
    assert result.exit_code == 3
    assert "allow it with --allow-http" in result.stderr
    assert web.requests("/net.h5") == []
    puller.succeeds(DATA, "--allow-http")
    assert "unverified by publisher" in puller.run("net").stdout


def test_a_pinned_file_may_come_over_plain_http(
    web: Web, add_model: AddModel, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_here(monkeypatch)
    add_model("net", file(DATA, web.put("/net.h5", DATA).replace("127.0.0.1", "models.example")))
    puller.succeeds(DATA)


def test_a_redirect_to_plain_http_needs_a_hash(
    web: Web, add_model: AddModel, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_here(monkeypatch)
    target = web.put("/file", DATA).replace("127.0.0.1", "models.example")
    add_model("net", file(DATA, web.put("/net.bin", DATA, *[redirect(target)] * 9), name="net.bin", hash=None))
    result = puller.run("net")
    assert result.exit_code == 3
    assert "allow it with --allow-http" in result.stderr
    assert web.requests("/file") == []
    puller.succeeds(DATA, "--allow-http")


def test_d02_resuming_goes_on_at_another_mirror(web: Web, other_web: Web, add_model: AddModel, puller: Puller) -> None:
    """Its validator is another one, as mirrors' are: the hash says whether the halves fit."""
    half = len(DATA) // 2
    first = web.put("/net.h5", DATA, cut(half), reply(404), etag='"first"')
    add_model("net", file(DATA, first, other_web.put("/net.h5", DATA, etag='"second"')))
    puller.succeeds(DATA)
    assert web.sent + other_web.sent < 1.02 * len(DATA)


def test_d02_a_byte_more_is_no_headway(net: Any, web: Web, puller: Puller) -> None:
    net(*[cut(1)] * 99)
    puller.fails(3, "reset", again=False)
    assert len(web.seen) == 3


@pytest.mark.parametrize("act", [wrong_range, wrong_total])
def test_d06_a_wrong_range_is_noticed_without_a_known_size(act: Any, net: Any, web: Web, puller: Puller) -> None:
    net(cut(1000), act, bytes=None)
    puller.succeeds(DATA)
    assert ranges(web) == [None, "bytes=1000-", None]


def test_d08_a_leftover_of_the_right_size_is_checked_all_the_same(
    net: Any, web: Web, home: Path, puller: Puller
) -> None:
    url = net()
    leave_partial(home, url, OLD, hash=hash_of(DATA), etag='"one"', total=len(OLD))
    puller.succeeds(DATA)
    assert ranges(web) == [None]


def another_total(handler: Any, resource: Any) -> None:
    """A rest of what it says is the same file, but longer by one byte."""
    start = handler.asked_from() or 0
    headers = {"ETag": '"one"', "Content-Range": f"bytes {start}-{len(DATA)}/{len(DATA) + 1}"}
    handler.send(206, DATA[start:] + b"x", headers)


def nothing_more(handler: Any, resource: Any) -> None:
    handler.send(416, b"", {"ETag": '"one"', "Content-Range": f"bytes */{len(DATA)}"})


@pytest.mark.parametrize("act", [another_total, nothing_more])
def test_d06_d08_without_a_hash_the_sizes_must_agree(act: Any, web: Web, add_model: AddModel, puller: Puller) -> None:
    unpinned(web, add_model, cut(1000), act)
    puller.succeeds(DATA)
    assert [seen.headers.get("Range") for seen in web.seen] == [None, "bytes=1000-", None]


def unpinned(web: Web, add_model: AddModel, *script: Any, name: str = "net.bin") -> None:
    add_model("net", file(DATA, web.put("/net.bin", DATA, *script), name=name, hash=None, bytes=None))


def test_d16_nothing_is_no_model(web: Web, add_model: AddModel, puller: Puller) -> None:
    unpinned(web, add_model, *[whole(data=b"")] * 9)
    result = puller.run("net")
    assert result.exit_code == 4
    assert "nothing came" in result.stderr
    assert blobs_in(puller.home) == []


@pytest.mark.parametrize("begin", [b"\n", b"\xef\xbb\xbf \r\n"])
def test_d16_a_page_is_known_however_it_comes(begin: bytes, web: Web, add_model: AddModel, puller: Puller) -> None:
    def in_pieces(handler: Any, resource: Any) -> None:
        handler.send(200, begin, {}, length=len(begin + PAGE))
        time.sleep(0.05)
        handler.body(PAGE)

    unpinned(web, add_model, *[in_pieces] * 9)
    result = puller.run("net")
    assert result.exit_code == 4
    assert "a page for people" in result.stderr


def test_d04_without_hash_size_and_length_nobody_could_tell(web: Web, add_model: AddModel, puller: Puller) -> None:
    unpinned(web, add_model, *[whole(data=DATA[:1000], length=None)] * 9)
    result = puller.run("net")
    assert result.exit_code == 4
    assert "nobody says how long it is" in result.stderr


@pytest.mark.parametrize("complete", [True, False])
def test_d04_a_chunked_body_says_itself_where_it_ends(
    complete: bool, web: Web, add_model: AddModel, puller: Puller
) -> None:
    def chunked(handler: Any, resource: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(DATA), 1 << 20):
            piece = DATA[start : start + (1 << 20)]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n" if complete else b"")
        handler.close_connection = True

    unpinned(web, add_model, chunked)
    puller.succeeds(DATA)
    assert len(web.seen) == (1 if complete else 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "9" * 400}, {"Retry_After": "Wed, 21 Oct 2015 07:28:00 +99999999999999999999"},
        {"Retry_After": "soon"}, {"Content_Range": "bytes " + "9" * 5000 + "-/7"}, {"ETag": '"\x7f\u00e9"'},
        {"Content_Type": "\x1b[2Jtext/html"},
    ],
)  # fmt: skip
def test_odd_headers_break_nothing(headers: dict[str, str], net: Any, puller: Puller) -> None:
    def odd(handler: Any, resource: Any) -> None:
        status = 503 if "Retry_After" in headers else 206 if "Content_Range" in headers else 200
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.send(status, DATA[:7], named, length=len(DATA))
        handler.reset()

    net(odd)
    assert "\x1b[2J" not in puller.succeeds(DATA).stderr


def test_a_proxy_sees_nothing_of_what_is_for_this_machine(
    net: Any, web: Web, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    net()
    puller.succeeds(DATA)
