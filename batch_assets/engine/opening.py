"""Open a published plan: from here on its shards are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.records import PlanRef

if TYPE_CHECKING:
    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRecord


def open_plan(ledger: Ledger, plan: PlanRecord) -> None:
    """Assert the plan's marker and open its shards; done again, it changes nothing.

    Where the plan says so, the open plans that it replaces are marked canceled first: the next advance cancels their
    batches, takes what had finished, and sends the rest.
    """
    ref = plan.ref
    if plan.on_change == "cancel":
        for generation in ledger.open_generations(ref.asset, ref.partition):
            if generation < ref.generation:
                earlier = ledger.plan(PlanRef(asset=ref.asset, partition=ref.partition, generation=generation))
                ledger.mark_canceled(earlier.ref, earlier.account)
    ledger.mark_open(ref, plan.account)
    ledger.open_shards_of(plan)
