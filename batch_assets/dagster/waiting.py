"""Ending waits that nobody wants any more: a canceled backfill, or a person's `batch_cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.dagster.hold import is_canceled
from batch_assets.engine import cancel_plan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dagster import DagsterInstance

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef, Wait


def cancel_abandoned_waits(instance: DagsterInstance, ledger: Ledger, provider: Provider) -> int:
    """Cancel this provider's plans that only canceled backfills wait for. Returns how many plans."""
    waits = ledger.waits()
    canceled = {
        backfill_id
        for backfill_id in {wait.backfill_id for wait in waits if wait.backfill_id}
        if is_canceled(instance, backfill_id)
    }
    unwanted = [wait for wait in waits if wait.backfill_id in canceled]
    wanted = {ref for wait in waits if wait.backfill_id not in canceled for ref in wait.plans}
    return end_waits(ledger, provider, unwanted, wanted)


def end_waits(ledger: Ledger, provider: Provider, unwanted: Sequence[Wait], wanted: Collection[PlanRef]) -> int:
    """End those of the waits that belong to this provider; cancel their plans, except those that others want."""
    plans = 0
    for wait in unwanted:
        refs = [ref for ref in wait.plans if ref.generation > 0]
        if refs and ledger.plan(refs[0]).provider != provider.name:
            continue
        for ref in refs:
            if ref not in wanted:
                cancel_plan(ledger, provider, ref)
                plans += 1
        ledger.end_wait(wait.wait_id)
    return plans
