"""`batch-assets gc`: remove uploaded input files, drafts and replaced plans that nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.cli.console import counted, results
from batch_assets.cli.definition import open_provider
from batch_assets.cli.existing_store import open_ledger
from batch_assets.engine.gc import DAY_SECONDS, Removed, remove_input_files, remove_old_plans
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    import argparse


def execute(given: argparse.Namespace) -> int:
    """Remove, or with --dry-run say what would be removed."""
    ledger = open_ledger(given.store, given.namespace)
    removed = Removed()
    if given.provider_option and len(given.provider) != 1:
        raise ConfigError(f"--provider-option belongs to one provider, and {len(given.provider)} are named")
    for name in given.provider:
        provider = open_provider(name, given.provider_option, given.store)
        remove_input_files(ledger, provider, removed, dry_run=given.dry_run)
    older_seconds = given.older_than_days * DAY_SECONDS
    remove_old_plans(ledger, removed, older_seconds=older_seconds, dry_run=given.dry_run)
    parts = [
        counted(len(removed.plans), "replaced plan"),
        counted(len(removed.drafts), "draft"),
        counted(len(removed.shards), "shard"),
        f"{counted(removed.objects, 'object')} ({removed.size_bytes / 1e6:,.1f} MB)",
        counted(len(removed.input_files), "input file"),
    ]
    results().print(f"{'Would remove' if given.dry_run else 'Removed'} {', '.join(parts)}", soft_wrap=True)
    return 0
