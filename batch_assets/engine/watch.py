"""What a person should know about a batch that runs: a status that is not known, a window that has passed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from batch_assets.errors import UnknownStatus
from batch_assets.lifecycle import State
from batch_assets.records import BatchPhase

if TYPE_CHECKING:
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Limits, Shard

_UNITS = {"h": 3600.0, "d": 86_400.0}


def window_seconds(provider: Provider, batch: BatchInfo) -> float:
    """How long the batch may take: the difference of two times of the provider's clock, or the provider's window."""
    if batch.expires_at is not None:
        return (batch.expires_at - batch.created_at).total_seconds()
    return completion_seconds(provider.limits)


def completion_seconds(limits: Limits) -> float:
    """The provider's window, in which a batch is promised to end; infinite where nobody promises anything."""
    if limits.realtime:
        return math.inf
    window = re.fullmatch(r"(\d+)([hd])", limits.completion_window)
    return int(window[1]) * _UNITS[window[2]] if window else _UNITS["d"]


def is_overdue(ledger: Ledger, provider: Provider, shard: Shard, batch: BatchInfo) -> bool:
    """Whether a batch runs so long beyond its window that a cancel is asked for: what it finished then comes back.

    A duration by the store's clock, compared with one by the provider's clock.
    """
    limit = window_seconds(provider, batch) + ledger.timing.overdue_seconds
    return shard.state is State.SUBMITTED and ledger.age_seconds(shard.entered_at) > limit


def remark(ledger: Ledger, provider: Provider, shard: Shard, batch: BatchInfo) -> str | None:
    """What a person should know about a batch that has not ended; None if all is well."""
    seconds = ledger.age_seconds(shard.entered_at)
    if batch.phase is BatchPhase.UNKNOWN:
        return str(UnknownStatus(batch.raw_status, provider=provider.name, batch_id=batch.batch_id))
    if shard.state is State.CANCELING:
        if seconds > ledger.timing.overdue_seconds:
            return f"batch {batch.batch_id} has not ended, although a cancel was asked for long ago"
        return shard.last.reason
    window = window_seconds(provider, batch)
    if batch.note is not None:
        return batch.note
    if seconds > window:
        return f"batch {batch.batch_id} runs beyond its window of {window / 3600:g} h ({batch.raw_status})"
    return None


def deletion_note(ledger: Ledger, shard: Shard) -> str | None:
    """Told when results that are not fetched yet are near their deletion by the provider."""
    if shard.state not in {State.SUBMITTED, State.CANCELING, State.ENDED} or shard.last.kept_seconds is None:
        return None
    left = shard.last.kept_seconds - ledger.age_seconds(shard.sent_at)
    if left > min(ledger.timing.deletion_warning_seconds, shard.last.kept_seconds / 4):
        return None
    when = f"in about {left / 86_400:.1f} days" if left > 0 else "by now"
    return f"the results of batch {shard.last.batch_id} are not fetched yet, and the provider deletes them {when}"
