"""Where the time of a long job goes."""

from __future__ import annotations

import time


class Laps:
    """Measures the steps of a job, one after the other.

    Attributes:
        seconds: Wall time of each step, by its name.

    >>> laps = Laps()
    >>> laps.end("build")
    >>> list(laps.seconds)
    ['build']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def end(self, step: str) -> None:
        """Counts the time since the last step ended towards `step`."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._began
        self._began = now
