"""Batches at the provider that bear our stamp and that no shard has: taken where they are needed, else canceled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.engine.cancel import cancel_surplus
from batch_assets.lifecycle import Event, State
from batch_assets.records import BatchPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard

_DAY_SECONDS = 86_400.0


def orphans(ledger: Ledger, account: str, listed: Iterable[BatchInfo], shards: Mapping[str, Shard]) -> list[BatchInfo]:
    """Of the batches listed, those of this store and namespace that no shard has as its batch.

    `shards` are the account's open ones, by id. One that is being sent or settled may yet take its batch.
    """
    prefix = f"{ledger.name}/"
    found = []
    for batch in listed:
        if batch.stamp is None or not batch.stamp.startswith(prefix):
            continue
        shard_id = batch.stamp.removeprefix(prefix)
        shard = shards.get(shard_id)
        runs = batch.phase is not BatchPhase.ENDED
        if shard is None:
            if batch.phase is BatchPhase.RUNNING and ledger.find_shard(account, shard_id) is not None:
                found.append(batch)
        elif shard.last.batch_id != batch.batch_id and shard.state not in {State.SUBMITTING, State.AMBIGUOUS}:
            takes = shard.state is State.WAITING and (runs or bool(batch.result_files))
            if takes or batch.phase is BatchPhase.RUNNING:
                found.append(batch)
    return found


def settle_orphan(ledger: Ledger, provider: Provider, batch: BatchInfo, *, log: Callable[[str], None]) -> str | None:
    """Give the batch to its shard if that waits to be sent, else cancel it; returns what was done, None for nothing.

    A batch of a shard that this store does not have is only reported: it may be another copy of the store that has it.
    """
    shard_id = (batch.stamp or "").removeprefix(f"{ledger.name}/")
    shard = ledger.find_shard(provider.account, shard_id)
    if shard is None:
        log(f"batch {batch.batch_id} bears the stamp of shard {shard_id}, which this store does not have")
        return None
    if shard.last.batch_id == batch.batch_id or shard.state in {State.SUBMITTING, State.AMBIGUOUS}:
        return None
    if shard.state is State.WAITING and ledger.claim_batch(shard.spec, batch.batch_id):
        kept = provider.limits.results_kept_days * _DAY_SECONDS
        if ledger.advance(shard, Event.FIND, batch_id=batch.batch_id, kept_seconds=kept) is None:
            return None
        log(f"shard {shard_id}: found its batch {batch.batch_id}, which was thought not to exist")
        return "found"
    if batch.phase is BatchPhase.RUNNING:
        done = f" after {batch.completed:,} of its requests were executed" if batch.completed else ""
        log(f"batch {batch.batch_id} is one too many for shard {shard_id}, which is {shard.state}{done}")
        cancel_surplus(ledger, provider, batch.batch_id, log=log)
        return "canceled as one too many"
    return None
