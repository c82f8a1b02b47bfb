"""Cancel a plan: what waits is not sent, what runs is asked to stop, what had finished is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.engine.status import shards_of
from batch_assets.errors import NotFound
from batch_assets.lifecycle import Event, State

if TYPE_CHECKING:
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef


def cancel_plan(ledger: Ledger, provider: Provider, ref: PlanRef) -> None:
    """Cancel the plan of one generation. Done again, it changes nothing.

    The next advance harvests what had finished. Raises Transient or Blocked if the provider cannot be asked.
    """
    for shard in shards_of(ledger, ledger.plan(ref)):
        if shard is None:
            continue
        if shard.state in {State.WAITING, State.BLOCKED}:
            ledger.advance(shard, Event.CANCEL, reason="canceled before it was sent")
        elif shard.state is State.SUBMITTED and shard.last.batch_id is not None:
            if ledger.advance(shard, Event.CANCEL, reason="canceled") is not None:
                _cancel_batch(provider, shard.last.batch_id)
        elif shard.state is State.CANCELING and shard.last.batch_id is not None:
            _cancel_batch(provider, shard.last.batch_id)


def _cancel_batch(provider: Provider, batch_id: str) -> None:
    try:
        provider.cancel(batch_id)
    except NotFound:
        return  # the next advance finds it lost
