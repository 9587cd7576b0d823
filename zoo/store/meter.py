"""The bytes of several files as one progress, that never goes back."""

from __future__ import annotations

from collections.abc import Callable

from zoo.progress import Progress
from zoo.store.planning import PullPlan

Tell = Callable[[int, int | None], None]


class Meter:
    """Adds up what comes of several files, whose sizes may be learned late and whose downloads may start again.

    Args:
        progress: What is told.
        plan: Which files come.
    """

    def __init__(self, progress: Progress, plan: PullPlan) -> None:
        self._progress = progress
        self._totals = {number: step.bytes for number, step in enumerate(plan.steps) if step.action == "fetch"}
        self._done = dict.fromkeys(self._totals, 0)
        self._shown, self._total = 0, self._sum()

    def __enter__(self) -> Meter:
        if self._done:
            self._progress.start(self._total, "bytes")
        return self

    def __exit__(self, *_: object) -> None:
        if self._done:
            self._progress.close()

    def of(self, number: int) -> Tell:
        """Returns what is told the bytes of the file `number` that are there, and those of the whole if known."""

        def tell(done: int, total: int | None) -> None:
            if number not in self._done:  # it was thought to be here
                return
            self._done[number] = done
            if self._totals[number] is None:
                self._totals[number] = total
            if (sum_now := self._sum()) is not None and sum_now != self._total:
                self._total = sum_now
                self._progress.expect(sum_now)
            if (more := sum(self._done.values()) - self._shown) > 0:
                self._progress.advance(more)
                self._shown += more

        return tell

    def _sum(self) -> int | None:
        known = [total for total in self._totals.values() if total is not None]
        return sum(known) if len(known) == len(self._totals) else None
