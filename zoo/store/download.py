"""One file from the network into the store: resumed, checked, committed; or not there at all.

Addresses are tried in order. At one address a broken connection is taken up again from where it broke, for as long as
that gets any further. What is not the file that was meant is thrown away, asked for once more, and then looked for
elsewhere.
"""

from __future__ import annotations

import logging
import random
import re
import time

from zoo.errors import IntegrityError, NotFoundError, ZooError
from zoo.store.blobs import About, Blobs
from zoo.store.layout import Layout, refuse_without_room
from zoo.store.meter import Tell
from zoo.store.partial import Origin, Partial, open_partial
from zoo.store.planning import Wanted
from zoo.store.policy import Address, Policy, addresses
from zoo.store.transport import Answer, FetchError, Transport

_log = logging.getLogger("zoo")
_CHUNK = 1 << 20
_LOOK_UPS = 2  # tries where the server's name leads nowhere
_HEADWAY = 1 << 20  # so many new bytes (or the rest of the file) make a broken connection no failure
_MOST_BYTES = 8 << 30  # of a file whose size nobody says
_MAGIC = {
    ".h5": b"\x89HDF\r\n\x1a\n", ".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".zip": b"PK", ".keras": b"PK", ".npz": b"PK",
}  # fmt: skip
_BEGINNING = 1024
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)


def download(
    wanted: Wanted,
    paths: Layout,
    policy: Policy,
    tell: Tell = lambda done, total: None,
    *,
    key: str | None = None,
) -> str:
    """Returns the sha256 (hex) of the file, which was fetched and is a blob now.

    Args:
        wanted: Which file.
        paths: The store.
        policy: From where it may come, and with what patience.
        tell: Told the bytes that are there, and those of the whole where that is known. The former may fall.
        key: What it is found by later; None: `wanted.key`.

    Raises:
        NotFoundError: No address gave it.
        IntegrityError: What came was not the file.
        DiskError: There is no room for it; what has come is kept.
    """
    kinds = frozenset({"sha256", (wanted.hash or "sha256").partition(":")[0]})
    pinned = wanted.hash is not None
    with (
        open_partial(paths.tmp, wanted.key, kinds, wanted.name, pinned=pinned) as partial,
        Transport(policy) as transport,
    ):
        origin = _Download(wanted, policy, partial, transport, tell).run()
        partial.flush()
        about = About(partial.size, 0, partial.digests(), key or wanted.key, origin.url)
        blob = Blobs(paths).commit(partial.data, about)
        partial.remove()
        return blob


class _Download:
    """The bytes of one file, from one address after the other into its partial."""

    def __init__(self, wanted: Wanted, policy: Policy, partial: Partial, transport: Transport, tell: Tell) -> None:
        self._wanted = wanted
        self._policy = policy
        self._partial = partial
        self._transport = transport
        self._tell = tell
        self._pinned = wanted.hash is not None
        self._furthest = partial.size

    def run(self) -> Origin:
        """Fills the partial with the whole file, and returns where that came from.

        Raises:
            NotFoundError: No address gave it.
            IntegrityError: What came was not the file.
        """
        if self._is_left_whole() and self._partial.origin:
            return self._partial.origin
        candidates = addresses(self._wanted.urls, pinned=self._pinned, policy=self._policy)
        failures: list[tuple[Address, FetchError]] = []
        for address in candidates:
            try:
                return self._from(address)
            except FetchError as error:
                failures.append((address, error))
                if address is not candidates[-1]:
                    _log.warning("%s: %s; trying %s.", address, error, candidates[candidates.index(address) + 1])
        raise _given_up(self._wanted, failures)

    def _is_left_whole(self) -> bool:
        """Returns whether a process that died had all of it, and only did not come to say so."""
        partial, total = self._partial, self._total()
        if not partial.size or partial.size != total:
            return False
        try:
            self._check("nothing known")
        except FetchError:
            partial.start_again()
            return False
        self._tell(partial.size, total)
        return True

    def _from(self, address: Address) -> Origin:
        """Fills the partial from one address.

        Raises:
            FetchError: It gave up.
        """
        if address.refused:
            raise FetchError(address.refused)
        failed, fresh = 0, False
        while True:
            furthest = self._furthest
            try:
                return self._try(address)
            except FetchError as error:
                if error.corrupt and not fresh:
                    _log.warning("%s: %s; asking once more.", address, error)
                    self._partial.start_again()
                    fresh = True
                    continue
                if error.corrupt:
                    self._partial.start_again()
                failed = 1 if self._furthest >= furthest + _HEADWAY else failed + 1
                attempts = self._policy.attempts if error.found else min(_LOOK_UPS, self._policy.attempts)
                if not error.again or failed >= attempts:
                    raise
                self._pause(address, error, failed, attempts)

    def _pause(self, address: Address, error: FetchError, failed: int, attempts: int) -> None:
        seconds = min(self._policy.backoff * 2 ** (failed - 1), self._policy.longest_wait) * random.uniform(0.5, 1)
        if error.wait is not None:
            seconds = min(error.wait, self._policy.longest_wait)
        _log.warning("%s: %s; trying again in %.1f s (%d of %d).", address, error, seconds, failed, attempts - 1)
        time.sleep(seconds)

    def _try(self, address: Address) -> Origin:
        """Asks once, reads what comes, and checks it when it is whole."""
        partial = self._partial
        start, etag = self._resume_from(address)
        answer = self._transport.ask(address, pinned=self._pinned, start=start, etag=etag)
        try:
            if answer.status == 416:
                return self._from_416(answer, start)
            self._take_up(address, answer, start)
            self._read(answer)
        finally:
            answer.close()
        self._check(answer.content_type)
        return partial.origin or Origin(str(address))

    def _resume_from(self, address: Address) -> tuple[int, str | None]:
        """Returns from which byte to ask, and the validator that those before it need."""
        partial, known = self._partial, self._partial.origin
        if partial.size and known is not None:
            same = known.url == str(address)
            if same and known.etag:
                return partial.size, known.etag
            if self._pinned:  # what was mixed would not pass the check at the end
                return partial.size, None
        partial.start_again()
        return 0, None

    def _from_416(self, answer: Answer, start: int) -> Origin:
        """Says whether "nothing behind that" means that all of it is here."""
        partial = self._partial
        if partial.origin is None or not (self._pinned or answer.total == start):
            partial.start_again()
            raise FetchError(f"HTTP 416 after {start} bytes", again=True)
        self._check(answer.content_type)
        return partial.origin

    def _take_up(self, address: Address, answer: Answer, start: int) -> None:
        """Sets the partial to where the answer begins."""
        partial, wanted = self._partial, self._wanted
        if answer.status == 206 and (answer.start != start or (answer.total or start + 1) <= start):
            raise FetchError(f"asked for what follows byte {start}, got what follows {answer.start}", corrupt=True)
        if answer.status == 200 and start:
            partial.start_again()
            start = 0
        total = answer.total
        if wanted.bytes is not None and total is not None and total != wanted.bytes:
            raise FetchError(f"expected {wanted.bytes} bytes, it has {total} ({answer.content_type})", corrupt=True)
        if known := partial.origin:
            self._refuse_another(known, address, answer)
            return
        refuse_without_room((wanted.bytes or total or 0) - start, wanted.name, partial.folder.parent)
        partial.describe(Origin(str(address), answer.etag, total))

    @staticmethod
    def _refuse_another(known: Origin, address: Address, answer: Answer) -> None:
        """Raises `FetchError` where what comes is of another file than what has come."""
        if known.url == str(address) and known.etag and answer.etag and known.etag != answer.etag:
            raise FetchError(f"what came before was of {known.etag}, this is of {answer.etag}", corrupt=True)
        if known.total is not None and answer.total is not None and known.total != answer.total:
            raise FetchError(f"it had {known.total} bytes before, now {answer.total}", corrupt=True)

    def _total(self) -> int | None:
        if self._wanted.bytes is not None or self._partial.origin is None:
            return self._wanted.bytes
        return self._partial.origin.total

    def _read(self, answer: Answer) -> None:
        """Appends the body, for as long as it comes fast enough and is not more than the file.

        Raises:
            FetchError: It broke, stalled, or was more or less than the file.
        """
        partial, total = self._partial, self._total()
        limit = _MOST_BYTES if total is None else total
        pace = _Pace(self._policy)
        self._tell(partial.size, total)
        for data in answer.chunks(_CHUNK):
            if partial.size + len(data) > limit:
                raise FetchError(f"more than {limit} bytes came", corrupt=True)
            partial.append(data)
            self._furthest = max(self._furthest, partial.size)
            self._tell(partial.size, total)
            pace.check(len(data))
        if total is None or partial.size < total:
            self._refuse_a_page(answer.content_type)
        if total is not None and partial.size < total:
            raise FetchError(f"{partial.size} of {total} bytes came", again=True, short=not answer.ends)
        if total is None and not self._pinned and not answer.ends:
            raise FetchError("nobody says how long it is, so nobody could tell whether all of it came", short=True)

    def _check(self, content_type: str) -> None:
        """Checks that the partial is the file.

        Raises:
            FetchError: It is not.
        """
        wanted, size = self._wanted, self._partial.size
        if wanted.bytes is not None and size != wanted.bytes:
            raise FetchError(f"expected {wanted.bytes} bytes, got {size}", corrupt=True)
        if wanted.hash is not None:
            kind, _, expected = wanted.hash.partition(":")
            found = self._partial.digests()[kind]
            if found != expected:
                raise FetchError(f"expected {kind} {expected}, got {found} ({content_type})", corrupt=True)
            return
        if content_type.startswith("text/html"):
            raise FetchError(f"a page for people came instead of the file (got {content_type})", corrupt=True)
        begin = self._refuse_a_page(content_type)
        magic = next((magic for ending, magic in _MAGIC.items() if wanted.name.endswith(ending)), b"")
        if not begin.startswith(magic):
            raise FetchError(f"it does not begin as {wanted.name} must (it came as {content_type})", corrupt=True)

    def _refuse_a_page(self, content_type: str) -> bytes:
        """Returns how the file begins; raises `FetchError` where it is empty, or a login, an error or a notice."""
        with self._partial.data.open("rb") as file:
            begin = file.read(_BEGINNING)
        if not begin:
            raise FetchError("nothing came", corrupt=True)
        if _PAGE.match(begin):
            raise FetchError(f"a page for people came instead of the file (got {content_type})", corrupt=True)
        return begin


class _Pace:
    """Tells when bytes come too slowly to wait for the rest."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._began, self._bytes = time.monotonic(), 0

    def check(self, count: int) -> None:
        """Counts bytes; raises `FetchError` where too few came in the time that is looked at."""
        self._bytes += count
        seconds = time.monotonic() - self._began
        if seconds < self._policy.slow_after:
            return
        if self._bytes < self._policy.slowest * seconds:
            raise FetchError(f"only {self._bytes} bytes came in {seconds:.0f} s", again=True)
        self._began, self._bytes = time.monotonic(), 0


def _given_up(wanted: Wanted, failures: list[tuple[Address, FetchError]]) -> ZooError:
    told = "".join(f"\n  {address}: {error}" for address, error in failures)
    if any(error.corrupt or error.short for _, error in failures):
        kept = "nothing of it is kept" if all(error.corrupt for _, error in failures) else "it is not in the store"
        return IntegrityError(
            f"What came for {wanted.name} is not the file that was meant; {kept}.{told}\n"
            "Try again later, or name another place with --mirror."
        )
    unreachable = any(error.again for _, error in failures)
    check = (
        "Check the network, then run the same command again; or"
        if unreachable
        else "Check the address with zoo show, or"
    )
    return NotFoundError(f"Cannot fetch {wanted.name}.{told}\n{check} name another place with --mirror or ZOO_MIRROR.")
