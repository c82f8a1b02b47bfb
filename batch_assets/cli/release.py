"""`batch-assets release`: end by hand what holds on: a backfill that waits, or a submission that nobody can settle.

The one command that needs Dagster, for backfills: their holds are runs of the instance that DAGSTER_HOME names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from batch_assets.cli.console import counted, notes, results
from batch_assets.cli.existing_store import open_ledger
from batch_assets.dagster.released import HeldBackfill, held_backfills, release_backfill
from batch_assets.engine import release_shard
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def execute(given: argparse.Namespace) -> int:
    """Release a shard, or backfills; without either, list the backfills that are held."""
    if given.shard is not None:
        return _release_shard(given)
    if given.store or given.resubmit or given.fail:
        raise ConfigError("--store, --resubmit and --fail go with --shard")
    held = {backfill.backfill_id: backfill for backfill in held_backfills()}
    unknown = sorted(set(given.backfill) - set(held))
    if unknown:
        raise ConfigError(f"nothing holds {', '.join(unknown)}; {_listed(held)}")
    if not given.backfill:
        _print(held.values())
        return 0
    for backfill_id in given.backfill:
        notes().print(release_backfill(held[backfill_id], force=given.force))
    return 0


def _release_shard(given: argparse.Namespace) -> int:
    if given.backfill:
        raise ConfigError("name backfills, or one --shard, not both")
    if not given.store or not (given.resubmit or given.fail):
        raise ConfigError("--shard needs --store, and --resubmit (it may be paid for twice) or --fail (rows given up)")
    ledger = open_ledger(given.store, given.namespace)
    shard = release_shard(ledger, given.shard, "resubmit" if given.resubmit else "fail")
    notes().print(f"shard {given.shard} is {shard.state}: {shard.last.reason}")
    return 0


def _listed(held: Iterable[str]) -> str:
    names = sorted(held)
    return f"those held are {', '.join(names)}" if names else "no backfill is held"


def _print(held: Iterable[HeldBackfill]) -> None:
    rows = list(held)
    if not rows:
        notes().print("No backfill is held.")
        return
    table = Table(title=counted(len(rows), "held backfill"), title_justify="left")
    for column in ("backfill", "status", "held since", "store and namespace"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.backfill_id, row.status, f"{row.since:%Y-%m-%d %H:%M} UTC", row.scope)
    results().print(table)
