"""One file from the network into the store: resumed, checked, committed; or not there at all.

Addresses are tried in order. At one address a broken connection is taken up again from where it broke, for as long as
that gets any further. What is not the file that was meant is thrown away, asked for once more, and then looked for
elsewhere.
"""

from __future__ import annotations

import logging
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from zoo.errors import DiskError, IntegrityError, NotFoundError, ZooError
from zoo.store.blobs import About, Blobs
from zoo.store.layout import Layout, short_key
from zoo.store.partial import Origin, Partial, open_partial
from zoo.store.policy import Address, Policy, addresses
from zoo.store.transport import Answer, FetchError, Transport

_log = logging.getLogger("zoo")
_CHUNK = 1 << 20
_HEADWAY = 1 << 20  # so many new bytes (or the rest of the file) make a broken connection no failure
_ROOM = 1 << 20  # what else is written beside a file
_MOST_BYTES = 8 << 30  # of a file whose size nobody says
_MAGIC = {
    ".h5": b"\x89HDF\r\n\x1a\n", ".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".zip": b"PK", ".keras": b"PK", ".npz": b"PK",
}  # fmt: skip
_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: Its name; the ending says what it must begin with.
        urls: Its published addresses, the primary first.
        hash: What its bytes must have, as in `sha256:<hex>`; None where nobody published one.
        bytes: Its size, where that is known.
    """

    name: str
    urls: tuple[str, ...]
    hash: str | None = None
    bytes: int | None = None

    @property
    def key(self) -> str:
        """Returns a file name for the file that is wanted, the same for all who want it."""
        return short_key(self.hash) if self.hash else short_key(*self.urls)


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched.

    Attributes:
        blob: Its sha256 (hex).
        bytes: Its size.
        url: Where it came from, without anything secret.
    """

    blob: str
    bytes: int
    url: str


def download(
    wanted: Wanted, paths: Layout, policy: Policy, meter: Callable[[int, int | None], None] = lambda done, total: None
) -> Fetched:
    """Returns the file, fetched and committed as a blob.

    Args:
        wanted: Which file.
        paths: The store.
        policy: From where it may come, and with what patience.
        meter: Told the bytes that are there, and those of the whole where that is known. The former may fall.

    Raises:
        NotFoundError: No address gave it.
        IntegrityError: What came was not the file.
        DiskError: There is no room for it; what has come is kept.
    """
    kinds = frozenset({"sha256", (wanted.hash or "sha256").partition(":")[0]})
    with open_partial(paths.tmp, wanted.key, kinds) as partial, Transport(policy) as transport:
        file = _Download(wanted, policy, partial, transport, meter).run()
        partial.flush()
        about = About(partial.size, 0, partial.digests(), file.url, file.etag)
        blob = Blobs(paths).commit(partial.data, about)
        partial.remove()
        return Fetched(blob, partial.size, file.url)


class _Download:
    """The bytes of one file, from one address after the other into its partial."""

    def __init__(
        self, wanted: Wanted, policy: Policy, partial: Partial, transport: Transport,
        meter: Callable[[int, int | None], None],
    ) -> None:  # fmt: skip
        self._wanted = wanted
        self._policy = policy
        self._partial = partial
        self._transport = transport
        self._meter = meter
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
        if not partial.size or total is None or partial.size < total:
            return False
        try:
            self._check("nothing known")
        except FetchError:
            partial.start_again()
            return False
        self._meter(partial.size, total)
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
                if not error.again or failed >= self._policy.attempts:
                    raise
                self._pause(address, error, failed)

    def _pause(self, address: Address, error: FetchError, failed: int) -> None:
        seconds = min(self._policy.backoff * 2 ** (failed - 1), self._policy.longest_wait) * random.uniform(0.5, 1)
        if error.wait is not None:
            seconds = min(error.wait, self._policy.longest_wait)
        _log.warning(
            "%s: %s; trying again in %.1f s (%d of %d).", address, error, seconds, failed, self._policy.attempts - 1
        )
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
            answer.body.close()
        self._check(answer.content_type)
        if partial.origin is None:  # an empty file
            raise FetchError("nothing came", again=True)
        return partial.origin

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
            if known.etag and answer.etag and known.etag != answer.etag:
                raise FetchError(f"what came before was of {known.etag}, this is of {answer.etag}", corrupt=True)
            if total is not None and known.total is not None and total != known.total:
                raise FetchError(f"it had {known.total} bytes before, now {total}", corrupt=True)
            return
        self._refuse_without_room((wanted.bytes or total or 0) - start)
        partial.describe(Origin(str(address), answer.etag, total))

    def _total(self) -> int | None:
        if self._wanted.bytes is not None or self._partial.origin is None:
            return self._wanted.bytes
        return self._partial.origin.total

    def _refuse_without_room(self, needed: int) -> None:
        free = shutil.disk_usage(self._partial.folder).free
        if needed and needed + _ROOM > free:
            raise DiskError(
                f"{self._wanted.name} needs {needed:,} bytes more below {self._partial.folder.parent}, where "
                f"{free:,} are free. Free some (zoo gc, zoo rm NAME), or set ZOO_HOME to a larger disk."
            )

    def _read(self, answer: Answer) -> None:
        """Appends the body, for as long as it comes fast enough and is not more than the file.

        Raises:
            FetchError: It broke, stalled, or was more or less than the file.
        """
        partial, total = self._partial, self._total()
        limit = _MOST_BYTES if total is None else total
        pace = _Pace(self._policy)
        self._meter(partial.size, total)
        for data in answer.chunks(_CHUNK):
            if partial.size + len(data) > limit:
                raise FetchError(f"more than {limit} bytes came", corrupt=True)
            if not partial.size:
                _refuse_a_page(data, answer.content_type)
            partial.append(data)
            self._furthest = max(self._furthest, partial.size)
            self._meter(partial.size, total)
            pace.check(len(data))
        if total is not None and partial.size < total:
            raise FetchError(f"{partial.size} of {total} bytes came", again=True, short=answer.length is None)

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
        with self._partial.data.open("rb") as file:
            begin = file.read(8)
        magic = next((magic for ending, magic in _MAGIC.items() if wanted.name.endswith(ending)), b"")
        if not begin.startswith(magic):
            raise FetchError(f"it does not begin as {wanted.name} must (it came as {content_type})", corrupt=True)


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


def _refuse_a_page(begin: bytes, content_type: str) -> None:
    """Raises `FetchError` where a page for people came instead of a file: a login, an error, a notice."""
    if _PAGE.match(begin):
        raise FetchError(f"a page came instead of the file (got {content_type})", corrupt=True)


def _given_up(wanted: Wanted, failures: list[tuple[Address, FetchError]]) -> ZooError:
    told = "".join(f"\n  {address}: {error}" for address, error in failures)
    if any(error.corrupt or error.short for _, error in failures):
        return IntegrityError(
            f"{wanted.name} was fetched, but is not the file that was meant; nothing of it is kept.{told}\n"
            "Try again later, or name another place with --mirror."
        )
    return NotFoundError(
        f"Cannot fetch {wanted.name}.{told}\n"
        "Check the network, then run the same command again; or name another place with --mirror."
    )
