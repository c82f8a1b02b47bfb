"""Settle an ambiguous submission by looking at the provider, never by sending again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.engine.submit import INTENT_SECONDS
from batch_assets.lifecycle import Event, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard


def reconcile(ledger: Ledger, provider: Provider, shard: Shard, *, log: Callable[[str], None]) -> Shard | None:
    """Look for the batch of a shard whose create call was not answered, or whose intent is past its lease.

    Returns the shard where it was settled: found (`submitted`), or absent (`waiting`) in two complete listings with the
    provider's grace between them, both after the input file was deleted, so that a late create has nothing to run.
    None while it is not settled. A listing that fails says nothing: raises Transient or Blocked.
    """
    if shard.state is State.SUBMITTING:
        doubted = _doubt(ledger, shard)
        return None if doubted is None else reconcile(ledger, provider, doubted, log=log)
    found = _stamped(provider, ledger.stamp(shard.spec), shard.last.anchor)
    if not found and not shard.last.absences and shard.last.input_file is not None:
        provider.delete_input(shard.last.input_file)
        found = _stamped(provider, ledger.stamp(shard.spec), shard.last.anchor)
    if found:
        return _adopt(ledger, provider, shard, found, log)
    if not shard.last.absences:
        ledger.advance(shard, Event.MISS, absences=1, reason=shard.last.reason)
        return None
    if ledger.age_seconds(shard.since) < provider.listing_grace_seconds:
        return None
    log(f"shard {shard.spec.shard_id}: its batch was never created; it waits to be sent")
    return ledger.advance(shard, Event.ABSENT, reason=shard.last.reason, input_file=None)


def _doubt(ledger: Ledger, shard: Shard) -> Shard | None:
    """An intent past its lease: whoever was sending it did not come back."""
    if ledger.age_seconds(shard.since) <= (shard.last.lease_seconds or INTENT_SECONDS):
        return None
    return ledger.advance(shard, Event.DOUBT, reason="the process that was sending it did not come back")


def _stamped(provider: Provider, stamp: str, anchor: str | None) -> list[BatchInfo]:
    """The batches that bear the stamp, oldest first; read back to the batch that was newest before the intent."""
    found = []
    for batch in provider.batches():
        if batch.batch_id == anchor:
            break
        if batch.stamp == stamp:
            found.append(batch)
    return found[::-1]


def _adopt(
    ledger: Ledger, provider: Provider, shard: Shard, found: list[BatchInfo], log: Callable[[str], None]
) -> Shard | None:
    """Take the oldest batch as the shard's own; others that bear its stamp are canceled."""
    first, *others = found
    for other in others:
        log(f"shard {shard.spec.shard_id}: canceling {other.batch_id}, a second batch with its stamp")
        provider.cancel(other.batch_id)
    if not ledger.claim_batch(shard.spec, first.batch_id):
        return None
    log(f"shard {shard.spec.shard_id}: found its batch {first.batch_id}")
    return ledger.advance(shard, Event.FIND, batch_id=first.batch_id)
