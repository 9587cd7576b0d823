"""How files may be fetched: from which addresses, over which protocols, with what patience, with whose credentials.

Pure decisions: nothing here opens a connection.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from zoo.errors import UsageError

_STRONG = re.compile(r'"[!#-~]+"')


@dataclass(frozen=True)
class Policy:
    """How files may be fetched.

    Attributes:
        offline: Open no connection at all.
        allow_http: Use plain http also for files whose hash nobody published.
        mirrors: (prefix of published addresses, what stands in its place); several for one prefix are tried in turn.
        attempts: Tries at one address without getting any further.
        backoff: Seconds before the second try; doubled for each more, at most `longest_wait`, and jittered.
        longest_wait: At most so many seconds between two tries, also where a server asks for more.
        connect_timeout: Seconds until a connection must stand.
        stall_timeout: Seconds without a byte until a connection is given up.
        slowest: Bytes a second, below which a connection is given up.
        slow_after: Seconds over which that is measured.
        lock_timeout: Seconds to wait for another process that does the same; None: as long as it lives.
    """

    offline: bool = False
    allow_http: bool = False
    mirrors: tuple[tuple[str, str], ...] = ()
    attempts: int = 5
    backoff: float = 1.0
    longest_wait: float = 120.0
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    slowest: float = 1_000.0
    slow_after: float = 30.0
    lock_timeout: float | None = None


def policy_from_environment(
    *,
    offline: bool | None = None,
    allow_http: bool = False,
    mirror: str | None = None,
    lock_timeout: float | None = None,
) -> Policy:
    """Returns the policy of these settings, and of `ZOO_OFFLINE` and `ZOO_MIRROR` where they are None.

    Raises:
        UsageError: The mirrors are not written as `prefix=replacement,...`.
    """
    if offline is None:
        offline = os.environ.get("ZOO_OFFLINE", "").strip().lower() not in ("", "0", "no", "false", "off")
    rules = parse_mirrors(os.environ.get("ZOO_MIRROR", "") if mirror is None else mirror)
    return Policy(offline=offline, allow_http=allow_http, mirrors=rules, lock_timeout=lock_timeout)


def parse_mirrors(text: str) -> tuple[tuple[str, str], ...]:
    """Returns the rules of `prefix=replacement,prefix=replacement`.

    >>> parse_mirrors("https://storage.googleapis.com/=http://127.0.0.1:8000/gcs/")
    (('https://storage.googleapis.com/', 'http://127.0.0.1:8000/gcs/'),)
    """
    rules = []
    for number, rule in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        prefix, equals, target = rule.partition("=")
        if not equals or not _is_web(prefix) or not _is_web(target):
            raise UsageError(  # the rule itself may hold a password
                "A mirror is written as https://published.example/=https://mirror.example/copy/ (several separated "
                f"by commas); number {number} in --mirror or ZOO_MIRROR is not."
            )
        rules.append((prefix, target))
    return tuple(rules)


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass(frozen=True)
class Address:
    """One address to try.

    Attributes:
        url: Where to ask.
        refused: Why it must not be asked; None where it may.
        credential: What to send along, for this origin only.
    """

    url: str
    refused: str | None = None
    credential: Credential | None = None

    def __str__(self) -> str:
        return shown(self.url)


@dataclass(frozen=True)
class Credential:
    """A secret for one origin.

    Attributes:
        variable: The environment variable, or other place, that it came from.
        header: The value of the Authorization header; never shown.
    """

    variable: str
    header: str = dataclasses.field(repr=False)


def addresses(urls: Sequence[str], *, pinned: bool, policy: Policy) -> tuple[Address, ...]:
    """Returns where to ask for a file, in order: mirrors instead of what they stand for, https before http.

    Args:
        urls: The published addresses, the primary first.
        pinned: Whether the file's hash is known beforehand.
        policy: The mirrors, and what is allowed.
    """
    found: dict[str, Address] = {}
    for url in urls:
        for candidate, mirrored in _candidates(url, policy.mirrors):
            bare, userinfo = _without_userinfo(candidate)
            credential = _credential(bare, userinfo, mirrored)
            found.setdefault(bare, Address(bare, refusal(bare, pinned=pinned, policy=policy), credential))
    return tuple(found.values())


def _candidates(url: str, mirrors: Sequence[tuple[str, str]]) -> list[tuple[str, bool]]:
    secure = "https://" + url.removeprefix("http://") if url.startswith("http://") else url
    mirrored = [
        target + spelled.removeprefix(prefix)
        for prefix, target in sorted(mirrors, key=lambda rule: -len(rule[0]))  # the most special first
        for spelled in dict.fromkeys((url, secure))
        if spelled.startswith(prefix)
    ]
    if mirrored:
        return [(each, True) for each in mirrored]
    if is_loopback(url):
        return [(url, False)]
    return [(secure, False)] if secure == url else [(secure, False), (url, False)]


def refusal(url: str, *, pinned: bool, policy: Policy) -> str | None:
    """Returns why `url` must not be asked for a file, or None where it may."""
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        return f"{scheme or 'no'} protocol: only https and http are spoken"
    if scheme == "https" or pinned or policy.allow_http or is_loopback(url):
        return None
    return "plain http, and nobody published a hash to check the file by: allow it with --allow-http"


def is_loopback(url: str) -> bool:
    """Returns whether `url` leads to this machine by its letter (names are not looked up)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Returns scheme, host and port: what a credential belongs to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)


def is_strong(etag: str) -> bool:
    """Returns whether a server's validator tells files apart byte by byte, and can be sent back.

    >>> is_strong('"33a64df5"'), is_strong('W/"33a64df5"')
    (True, False)
    """
    return _STRONG.fullmatch(etag) is not None


def shown(url: str) -> str:
    """Returns `url` as it may be shown and logged: without user, password and query, which may be secrets.

    >>> shown("https://me:secret@host.example/a.h5?token=1")
    'https://host.example/a.h5'
    """
    return urlunsplit(urlsplit(_without_userinfo(url)[0])._replace(query="", fragment=""))


def _without_userinfo(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    return (urlunsplit(parts._replace(netloc=host)), userinfo) if at else (url, "")


def _credential(url: str, userinfo: str, mirrored: bool) -> Credential | None:
    """Returns the credential for `url`: never over plain http, but on loopback."""
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        return None
    if userinfo:
        place = "ZOO_MIRROR or --mirror" if mirrored else "the registry's address"
        return Credential(place, "Basic " + base64.b64encode(unquote(userinfo).encode()).decode())
    variable = "ZOO_TOKEN" if mirrored else {"huggingface.co": "HF_TOKEN"}.get(urlsplit(url).hostname or "")
    token = os.environ.get(variable or "", "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{variable} holds no token: a token is one line without blanks.")
    return Credential(variable, f"Bearer {token}") if variable and token else None


def credential_hint(address: Address) -> str:
    """Returns what is known about credentials after `address` was refused, without their value."""
    if address.credential:
        return f"the credential in {address.credential.variable} was sent, and refused"
    if urlsplit(address.url).scheme != "https" and not is_loopback(address.url):
        return "no credential was sent, as none ever is over plain http"
    if urlsplit(address.url).hostname == "huggingface.co":
        return "no credential was sent: set HF_TOKEN"
    return "no credential was sent: for a mirror of yours set ZOO_TOKEN"
