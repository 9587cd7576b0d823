"""Connections that do only what they are asked to, and do not wait for ever.

`requests` would by itself read the bodies of redirects, send cookies and the passwords of `.netrc`, and wait as long as
a byte comes now and then.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from zoo.store.policy import Credential


def watched_session(seconds: float) -> requests.Session:
    """Returns a session whose connections are ended where nothing of use comes for so many seconds."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(seconds))
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def watchdog_of(response: requests.Response) -> Watchdog | None:
    """Returns who watches the connection of a response; None where it goes through a proxy."""
    return getattr(response.raw, "watchdog", None)


def let_go(response: requests.Response) -> None:
    """Closes a response, whether or not all of it was read."""
    if watchdog := watchdog_of(response):
        watchdog.end()
    response.close()


class _Session(requests.Session):
    """A session that lets redirects be: even unfollowed, requests would read all of their bodies into memory."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Returns None: no redirect is known here."""


class _Adapter(HTTPAdapter):
    """An adapter whose connections are watched.

    Args:
        seconds: How long nothing of use may come.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__()

    def init_poolmanager(self, *words: Any, **more: Any) -> None:
        """Makes the pool of connections."""
        super().init_poolmanager(*words, **more)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, self._seconds),
            "https": _pool(HTTPSConnectionPool, self._seconds),
        }

    def close(self) -> None:
        """Closes all connections now, rather than when their pools are collected."""
        for key in set(self.poolmanager.pools.keys()):
            self.poolmanager.pools[key].close()
        super().close()


class Watchdog:
    """Ends a connection that brings nothing of use for too long, whatever else comes over it.

    Timeouts know no better: each byte of a header, each `100 Continue`, each letter of a chunk's size starts them anew.

    Args:
        sock: The connection.
        seconds: How long nothing of use may come.
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._beats = 0
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def beat(self) -> None:
        """Something of use has come."""
        self._beats += 1

    def end(self) -> None:
        """The connection is not waited for any more."""
        self._over.set()

    def _watch(self) -> None:
        seen = -1
        while seen != self._beats:
            seen = self._beats
            if self._over.wait(self._seconds):
                return
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


def _pool(kind: Any, seconds: float) -> Any:
    class Connection(kind.ConnectionCls):  # type: ignore[misc]
        def getresponse(self) -> Any:
            watchdog = Watchdog(self.sock, seconds)
            try:
                response = super().getresponse()
            except BaseException:
                watchdog.end()
                raise
            watchdog.beat()
            response.watchdog = watchdog
            return response

    return type(f"Watched{kind.__name__}", (kind,), {"ConnectionCls": Connection})


class OnlyCredential(AuthBase):
    """Sends one credential, or none: that there is an `auth` keeps passwords of `.netrc` out."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Returns the request with the credential in it."""
        if self._credential:
            request.headers["Authorization"] = self._credential.header
        return request
