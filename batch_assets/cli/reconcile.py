"""`batch-assets reconcile`: settle what is in doubt, and look for batches of ours that no shard has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.cli.console import notes
from batch_assets.cli.definition import open_provider
from batch_assets.cli.existing_store import open_ledger
from batch_assets.engine import advance_account
from batch_assets.lifecycle import State

if TYPE_CHECKING:
    import argparse


def execute(given: argparse.Namespace) -> int:
    """Advance the account once, reading the provider's whole list; status 1 while a submission is in doubt."""
    ledger = open_ledger(given.store, given.namespace)
    provider = open_provider(given.provider, given.provider_option, given.store)
    console = notes()
    console.print(advance_account(ledger, provider, whole_list=True, log=console.print))
    doubtful = [
        shard for shard in ledger.open_shards(provider.account) if shard.state in {State.SUBMITTING, State.AMBIGUOUS}
    ]
    for shard in doubtful:
        console.print(f"shard {shard.spec.shard_id} is {shard.state}: {shard.last.reason or 'being sent'}")
    return 1 if doubtful else 0
