"""`batch-assets cancel`: give up open plans. What had finished is kept, and a repeated night does not buy it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.cli.console import counted, notes
from batch_assets.cli.definition import open_provider
from batch_assets.cli.existing_store import open_ledger
from batch_assets.engine import advance_account, cancel_plan
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRef


def execute(given: argparse.Namespace) -> int:
    """Mark the plans canceled, ask the provider to stop their batches, and fetch what had finished."""
    ledger = open_ledger(given.store, given.namespace)
    provider = open_provider(given.provider, given.provider_option, given.store)
    console = notes()
    plans = _open_plans(ledger, given.asset, given.partition, provider.account)
    if not plans:
        console.print(f"No plan of {given.asset} is open in {provider.account}")
        return 0
    if not given.force:
        _refuse_if_waited_for(ledger, plans)
    for ref in plans:
        cancel_plan(ledger, provider, ref)
    console.print(f"{counted(len(plans), 'plan')} canceled")
    console.print(advance_account(ledger, provider, log=console.print))
    return 0


def _open_plans(ledger: Ledger, asset: str, partitions: list[str], account: str) -> list[PlanRef]:
    found = [plan.ref for plan in ledger.open_plans() if plan.ref.asset == asset and plan.account == account]
    return [ref for ref in found if not partitions or ref.partition in partitions]


def _refuse_if_waited_for(ledger: Ledger, plans: list[PlanRef]) -> None:
    runs = sorted({wait.run_id for wait in ledger.waits() if set(wait.plans) & set(plans)})
    if runs:
        raise ConfigError(
            f"{counted(len(runs), 'parked run waits', 'parked runs wait')} for it: {', '.join(runs[:5])}. Cancel it in "
            "Dagster, with the job batch_cancel, or add --force: those runs then land what had finished"
        )
