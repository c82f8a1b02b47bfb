"""The emulator's clock: real time plus an offset that tests move forward."""

import time


class Clock:
    """Seconds since 1970 (UTC), as the emulated providers see them.

    `offset_seconds` is what earlier runs over the same state have advanced by.
    """

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self.offset_seconds = offset_seconds

    def now(self) -> float:
        return time.time() + self.offset_seconds

    def advance(self, seconds: float) -> None:
        """Move forward; raises ValueError for a negative step, since nothing here may happen twice."""
        if seconds < 0:
            raise ValueError("the clock moves forward only")
        self.offset_seconds += seconds
