"""Settle an ambiguous submission at a provider whose batches bear nothing of ours but the custom_ids of their results.

A batch may be the shard's if it came after the intent's anchor, has as many requests, and no other shard owns it. None:
absent, after a second complete listing a grace later. Else the shard is on hold until a candidate ends: then its first
result lines tell by the shard's part of their custom_ids. That costs time, and no money; while a shard is on hold the
account sends others, of other numbers of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from batch_assets.errors import NotFound
from batch_assets.records import BatchPhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard

_BEYOND_ANCHOR = timedelta(seconds=5)
"""How far behind the anchor a candidate may stand: batches of one moment are listed in any order."""
_LINES = 20
"""Result lines that are looked at: one that is not ours may be a spoiled one."""


@dataclass(slots=True, kw_only=True)
class Candidates:
    """What a provider's list says about a shard that may have been sent."""

    complete: bool = False
    """The list reaches back to the batch that was the newest before the create call."""
    ours: list[BatchInfo] = field(default_factory=list)
    """Ended, and their results are the shard's; oldest first."""
    open: list[BatchInfo] = field(default_factory=list)
    """May be the shard's: they run, or ended and their results cannot be read."""

    @property
    def why_held(self) -> str | None:
        """Why the shard cannot be settled now, for people; None if it can."""
        if not self.open:
            return None
        names = ", ".join(f"{batch.batch_id} ({batch.raw_status})" for batch in self.open[:3])
        more = f" and {len(self.open) - 3} more" if len(self.open) > 3 else ""
        return f"{names}{more} may be its batch, which shows when it ends and its results can be read"


def find_candidates(ledger: Ledger, provider: Provider, shard: Shard, *, log: Callable[[str], None]) -> Candidates:
    """Read the list back to the shard's anchor, and the first results of what ended. Raises Transient or Blocked."""
    found = Candidates(complete=shard.last.anchor is None)
    reached = None
    for batch in provider.batches():
        if batch.batch_id == shard.last.anchor:
            found.complete, reached = True, batch.created_at
            continue
        if reached is not None and batch.created_at < reached - _BEYOND_ANCHOR:
            break
        if batch.total not in {None, shard.spec.requests}:
            continue
        owner = ledger.owner(shard.spec.account, batch.batch_id)
        if owner not in {None, shard.spec.shard_id}:
            continue
        # Owned by the shard itself: its submitter had the answer, and died before it could record the rest.
        whose = True if owner else _is_ours(provider, shard, batch)
        if whose is None:
            found.open.insert(0, batch)
        elif whose:
            found.ours.insert(0, batch)
        else:
            log(f"shard {shard.spec.shard_id}: {batch.batch_id} has as many requests, and is not its batch")
    return found


def _is_ours(provider: Provider, shard: Shard, batch: BatchInfo) -> bool | None:
    """Whether a batch's results are the shard's; None if that does not show yet."""
    if batch.phase is not BatchPhase.ENDED or not batch.result_files:
        return None
    try:
        lines = list(islice(provider.results(batch), _LINES))
    except NotFound:
        return None
    ids = [custom_id for line in lines if (custom_id := provider.custom_id(line)) is not None]
    if not ids:
        return None
    return any(custom_id.startswith(f"{shard.spec.shard_id}-") for custom_id in ids)
