"""One request: redirects followed with care, answers told apart by what to do next.

Nothing here writes to the disk. `requests` speaks HTTP; redirects, which it would follow by itself, are followed here.
"""

from __future__ import annotations

import datetime
import email.utils
import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from zoo.errors import DiskError
from zoo.store.connections import OnlyCredential, let_go, watchdog_of, watched_session
from zoo.store.policy import (
    Address,
    Credential,
    Policy,
    credential_hint,
    is_loopback,
    is_strong,
    origin,
    refusal,
    shown,
)

_MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_MOST_DIGITS = 18  # of any number that a server could mean
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)


class FetchError(Exception):
    """An address did not give the file.

    Attributes:
        again: Whether the same address may be asked again.
        wait: Seconds that the server asks to wait before that.
        corrupt: Whether what came was not the file, so that it must come anew.
        short: Whether it ended before its time, and the server seems to think that this was all.
        found: Whether the server's name leads anywhere; if not, asking again soon is of little use.
    """

    def __init__(
        self, reason: str, *, again: bool = False, wait: float | None = None, corrupt: bool = False,
        short: bool = False, found: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(" ".join(reason.split()))  # a server may have had a word in it
        self.found = found
        self.again = again
        self.wait = wait
        self.corrupt = corrupt
        self.short = short


@dataclass(frozen=True)
class Answer:
    """What a server answered to a request for a file.

    Attributes:
        status: 200: the whole file; 206: from `start` on; 416: nothing behind what was asked for.
        start: Where the body begins in the file (bytes).
        total: Size of the whole file (bytes), where the server says.
        ends: Whether the body says where it ends, so that a lost rest is noticed.
        etag: The strong validator of the file, or None.
        content_type: What the server calls it.
        response: The response, of which the body is still to be read.
    """

    status: int
    start: int
    total: int | None
    ends: bool
    etag: str | None
    content_type: str
    response: requests.Response

    def chunks(self, most: int) -> Iterator[bytes]:
        """Yields the body as it comes in, in pieces of at most `most` bytes.

        Raises:
            FetchError: The connection broke, stalled, or ended before its time.
        """
        watchdog = watchdog_of(self.response)
        while True:
            try:
                data = self.response.raw.read1(most, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise connection_error(error) from error
            if not data:
                return
            if watchdog:
                watchdog.beat()
            yield data

    def close(self) -> None:
        """Lets go of the connection, whether or not all of it was read."""
        let_go(self.response)


class Transport:
    """Connections for the files of one pull.

    Args:
        policy: What is allowed, and for how long to wait.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._session = watched_session(policy.stall_timeout + policy.slow_after)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def ask(self, address: Address, *, pinned: bool, start: int = 0, etag: str | None = None) -> Answer:
        """Returns the answer of `address`, redirects followed; only its body is still to be read.

        Args:
            address: Where to ask.
            pinned: Whether the file's hash is known, so that redirects may lead to plain http.
            start: Bytes that are there already: the answer may begin behind them.
            etag: The validator of those bytes; where the file has another by now, it comes whole.

        Raises:
            FetchError: There is no file to be had from there, or not now.
            DiskError: This process has too many files open.
        """
        url, headers = address.url, {"Accept-Encoding": "identity", "User-Agent": "zoo-transfer"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if etag:
                headers["If-Range"] = etag
        trusted = True
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._get(url, headers, address.credential if trusted else None)
            if response.status_code not in _REDIRECTS:
                return _answer(response, address if trusted else Address(url))
            let_go(response)
            target = _redirect(url, response.headers.get("Location", ""), pinned, self._policy)
            trusted = trusted and origin(target) == origin(url)
            url = target
        raise FetchError(f"more than {_MOST_REDIRECTS} redirects")

    def _get(self, url: str, headers: dict[str, str], credential: Credential | None) -> requests.Response:
        try:
            return self._session.get(
                url, headers=headers, auth=OnlyCredential(credential), stream=True, allow_redirects=False,
                timeout=(self._policy.connect_timeout, self._policy.stall_timeout),
                proxies={"no_proxy": "*"} if is_loopback(url) else None,  # what is for this machine stays here
            )  # fmt: skip
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
            raise FetchError(f"no address to ask: {error}") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise connection_error(error) from error


def _redirect(url: str, location: str, pinned: bool, policy: Policy) -> str:
    """Returns where a redirect leads, if it may be followed."""
    try:
        target = urljoin(url, location)
        origin(target)  # which a port that is none breaks
    except ValueError as error:
        raise FetchError("a redirect that leads nowhere") from error  # the error may quote a password
    if not location:
        raise FetchError("a redirect that leads nowhere")
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
        raise FetchError(f"a redirect from https to plain http ({shown(target)}) was refused")
    if reason := refusal(target, pinned=pinned, policy=policy):
        raise FetchError(f"a redirect to {shown(target)} was refused: {reason}")
    return target


def _answer(response: requests.Response, address: Address) -> Answer:
    """Returns a response that has a file, or part of it, to give."""
    status, headers = response.status_code, response.headers
    if status not in (200, 206, 416):
        let_go(response)
        raise _refused(status, headers.get("Retry-After"), address)
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        let_go(response)
        raise FetchError(f"it came encoded as {encoding}, which was not asked for", corrupt=True)
    length = _whole_number(headers.get("Content-Length", ""))
    start, total = _content_range(headers.get("Content-Range", "")) if status != 200 else (0, length)
    etag = headers.get("ETag", "").strip()
    kind = headers.get("Content-Type", "nothing known")
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    ends = length is not None or chunked
    return Answer(status, start, total, ends, etag if is_strong(etag) else None, kind, response)


def _refused(status: int, retry_after: str | None, address: Address) -> FetchError:
    if status in _TRY_AGAIN:
        return FetchError(f"HTTP {status}", again=True, wait=_seconds(retry_after))
    if status in (401, 403):
        return FetchError(f"HTTP {status}; {credential_hint(address)}")
    return FetchError(f"HTTP {status}")


def _content_range(text: str) -> tuple[int, int | None]:
    """Returns start and total of `bytes 5-9/10` and `bytes */10`; a start of -1 where there is none."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first = _whole_number(span.partition("-")[0])
    return (-1 if first is None or unit != "bytes" else first), _whole_number(total)


def _whole_number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _seconds(retry_after: str | None) -> float | None:
    """Returns the seconds that a Retry-After header asks for, which it gives as a number or as a date."""
    if retry_after is None:
        return None
    if (seconds := _whole_number(retry_after)) is not None:
        return float(seconds)
    try:
        when = email.utils.parsedate_to_datetime(retry_after)
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.UTC)
        return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None


def connection_error(error: BaseException) -> FetchError:
    """Returns what a broken connection means: try again, unless it is this machine that is at its limits.

    Raises:
        DiskError: This process has too many files open.
    """
    cause = _cause(error)
    if isinstance(cause, OSError) and cause.errno in _OUT_OF_FILES:
        raise DiskError(
            f"Cannot open a connection: {cause.strerror}; close some programs, or allow more with ulimit -n."
        ) from error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return FetchError(f"TLS: {cause.verify_message or cause} (certificate verify failed)")
    return FetchError(_told(cause), again=True, found=not isinstance(cause, socket.gaierror))


def _told(cause: BaseException) -> str:
    if isinstance(cause, urllib3.exceptions.TimeoutError | TimeoutError):
        return "nothing came in the time that is waited"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(cause)


def _cause(error: BaseException) -> BaseException:
    """Returns the innermost error: libraries wrap what went wrong in several layers."""
    seen = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [getattr(error, "reason", None), error.__cause__, error.__context__, *error.args]
        error = next((each for each in inner if isinstance(each, BaseException)), error)
    return error
