"""How long things may take before another process acts: all of it durations, each measured by one clock."""

from __future__ import annotations

from dataclasses import dataclass

from batch_assets.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds. The defaults are for production; tests that kill processes shorten them."""

    lease_seconds: float = 900.0
    """How long one process works for an account without renewing its lease; longer than any one step under it."""
    create_seconds: float = 300.0
    """Total time that a create call may take."""
    intent_seconds: float = 600.0
    """How long an intent is left alone: longer than its create call can take."""
    queue_wait_seconds: float = 60.0
    """How long a shard waits after a full queue, if the provider does not say; doubled with each setback."""
    blocked_seconds: float = 300.0
    """How long a blocked account or shard is left alone before it is tried again; doubled with each setback."""
    longest_wait_seconds: float = 3600.0
    """Where that doubling ends."""
    unopened_seconds: float = 60.0
    """How long a planner may take to open the shards of its plan."""
    owed_seconds: float = 900.0
    """How long a provider may owe us lines that its own counts promise, before they count as missing."""
    overdue_seconds: float = 3600.0
    """How long beyond its window a batch may run before a cancel is asked for."""
    hold_seconds: float = 3600.0
    """How long a submission may stay undecided before `on_ambiguous` decides."""
    deletion_warning_seconds: float = 3 * 86_400.0
    """How long before the provider deletes results that are not fetched yet a person is told; at most a quarter of the
    time that it keeps them."""

    def __post_init__(self) -> None:
        if self.create_seconds >= self.intent_seconds:
            raise ConfigError(
                f"`create_seconds` is {self.create_seconds} and `intent_seconds` is {self.intent_seconds}: an intent "
                "must be left alone for longer than its create call can take"
            )

    def wait_seconds(self, first: float, setbacks: int) -> float:
        """`first` doubled with each setback after the first, up to the longest wait."""
        return max(first, min(self.longest_wait_seconds, first * 2.0 ** min(setbacks - 1, 30)))
