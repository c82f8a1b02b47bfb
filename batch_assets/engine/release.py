"""A person ends the hold of a submission that looking at the provider cannot settle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from batch_assets.engine.reconcile import end_hold, is_held, why_held
from batch_assets.engine.status import shards_of
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    from batch_assets.ledger import Ledger
    from batch_assets.records import Shard


def release_shard(ledger: Ledger, shard_id: str, policy: Literal["resubmit", "fail"]) -> Shard:
    """Send the shard again, or give its rows up; returns it as it is now.

    Raises ConfigError where it is not on hold, or another process was first.
    """
    shard = _open_shard(ledger, shard_id)
    if not is_held(shard):
        raise ConfigError(
            f"shard {shard_id} is {shard.state}, not on hold: nothing about it is a person's to decide. `batch-assets "
            "reconcile` asks the provider for its batch"
        )
    released = end_hold(ledger, shard, policy, decided="as a person decided", why=why_held(shard))
    if released is None:
        raise ConfigError(f"shard {shard_id} was settled by another process at this moment; look again")
    return released


def _open_shard(ledger: Ledger, shard_id: str) -> Shard:
    for plan in ledger.open_plans():
        for shard in shards_of(ledger, ledger.plan(plan.ref)):
            if shard is not None and shard.spec.shard_id == shard_id:
                return shard
    raise ConfigError(f"no open plan has a shard {shard_id}; `batch-assets status --open` lists those that there are")
