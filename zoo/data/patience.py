"""Work in threads that may never come back: a file on a disk that no longer answers must not hold up everything."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_IDLE_SECONDS = 5.0


class TooSlowError(TimeoutError):
    """There was no progress for longer than there is patience."""


class Task(Generic[Result]):
    """A piece of work; whoever does it calls `alive` as it gets on."""

    def __init__(self, function: Callable[..., Result], arguments: tuple[Any, ...]) -> None:
        self._function, self._arguments = function, arguments
        self._done = threading.Event()
        self._seen: float | None = None
        self._value: Result | None = None
        self._error: BaseException | None = None

    def alive(self) -> None:
        """Tells that the work gets on."""
        self._seen = time.monotonic()

    def run(self) -> None:
        """Does the work: `function(*arguments, alive)`."""
        self.alive()
        try:
            self._value = self._function(*self._arguments, self.alive)
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self, patience: float) -> Result:
        """Returns what the work gave, or raises what it raised.

        Raises:
            TooSlowError: It did not get on for `patience` seconds.
        """
        while not self._done.wait(self._left(patience)):
            if self._seen is not None and self._left(patience) <= 0:
                raise TooSlowError(f"it could not be read within {patience:g} seconds; does the disk answer?")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _left(self, patience: float) -> float:
        return patience if self._seen is None else max(0.0, self._seen + patience - time.monotonic())


_ALL: weakref.WeakSet[Workers] = weakref.WeakSet()


class Workers:
    """Threads, as many as there is work and at most `most` that get on; a process does not wait for them to end.

    A thread that is given up is replaced.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        """Begins without threads, as a forked child does: it has none of its parent, perhaps a held lock."""
        self._tasks: SimpleQueue[Task[Any]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._idle = 0

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Task[Result]:
        """Begins `function(*arguments, alive)` as soon as a thread is free."""
        task = Task(function, arguments)
        with self._lock:
            self._tasks.put(task)
            self._start_a_thread()
        return task

    def give_up_one(self) -> None:
        """Lets another thread take the place of one that hangs."""
        with self._lock:
            self._most += 1
            self._start_a_thread()

    def _start_a_thread(self) -> None:
        if self._idle < self._tasks.qsize() and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name="zoo-files", daemon=True).start()

    def stop(self) -> None:
        """Drops what no thread has begun."""
        with contextlib.suppress(Empty):
            while True:
                self._tasks.get_nowait()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                task = None
            with self._lock:
                self._idle -= 1
                if task is None and self._tasks.empty():
                    self._threads -= 1
                    return
            if task is not None:
                task.run()
                del task  # or it would keep its result until the next


def patiently(
    function: Callable[..., Result], items: Iterable[Item], patience: float, threads: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yields each item with `function(item, alive)`, or with what it raised, in order, computed in several threads.

    An item that does not get on for `patience` seconds comes with a `TooSlowError`, and its thread is left behind.
    """
    workers = Workers(threads)
    waiting: deque[tuple[Item, Task[Result]]] = deque()

    def outcome() -> tuple[Item, Result | Exception]:
        item, task = waiting.popleft()
        try:
            return item, task.result(patience)
        except TooSlowError as error:
            workers.give_up_one()
            return item, error
        except Exception as error:
            return item, error

    try:
        for item in items:
            waiting.append((item, workers.submit(function, item)))
            if len(waiting) >= 8 * threads:
                yield outcome()
        while waiting:
            yield outcome()
    finally:
        workers.stop()


def _after_fork() -> None:
    for workers in list(_ALL):
        workers._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
