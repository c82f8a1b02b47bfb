"""`batch-assets status`: what a store knows, read from the store alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from batch_assets.cli.console import duration, results, write_json
from batch_assets.cli.existing_store import open_ledger
from batch_assets.engine.status import plan_status, shards_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import Console

    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRecord, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLine:
    """One shard, as `--json` shows it."""

    shard_id: str
    state: str
    round: int
    requests: int
    attempt: int
    batch_id: str | None
    age_seconds: float
    """Since its last transition, by the store's clock."""
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """One plan, as `--json` shows it."""

    asset: str
    partition: str | None
    generation: int
    state: str
    """`open`, `settled` or `refused`."""
    provider: str
    account: str
    model: str
    rows: int
    requests: int
    reused: int
    results: int
    age_seconds: float
    """Since it was planned, by the store's clock."""
    refused: str | None
    shards: tuple[ShardLine, ...]

    @property
    def open(self) -> bool:
        """Whether something of it can still change."""
        return self.state == "open"


def execute(given: argparse.Namespace) -> int:
    """Print every current plan, and every older one that is still open."""
    ledger = open_ledger(given.store, given.namespace)
    plans = [line for line in plan_lines(ledger) if line.open or not given.open]
    if given.json:
        write_json({"store": ledger.store.url, "namespace": ledger.namespace, "plans": plans})
    else:
        _print(plans, ledger, results())
    return 0


def plan_lines(ledger: Ledger) -> Iterator[PlanLine]:
    """The plans, by asset and partition, the newest generation last."""
    plans = {plan.ref: (plan, since) for plan, since in ledger.heads()}
    for found in ledger.open_plans():
        if found.ref not in plans:
            try:
                plans[found.ref] = (ledger.plan(found.ref), found.since)
            except FileNotFoundError:  # its planner has written the marker and not the plan
                continue
    for ref in sorted(plans, key=lambda ref: (ref.asset, ref.partition or "", ref.generation)):
        yield _plan_line(ledger, *plans[ref])


def _plan_line(ledger: Ledger, plan: PlanRecord, since: datetime) -> PlanLine:
    status = plan_status(ledger, plan.ref)
    state = "refused" if plan.refused is not None else "settled" if status.settled else "open"
    return PlanLine(
        asset=plan.ref.asset,
        partition=plan.ref.partition,
        generation=plan.ref.generation,
        state=state,
        provider=plan.provider,
        account=plan.account,
        model=plan.request.model,
        rows=plan.rows,
        requests=plan.requests,
        reused=plan.reused,
        results=status.results,
        age_seconds=ledger.age_seconds(since),
        refused=plan.refused,
        shards=tuple(_shard_line(ledger, shard) for shard in shards_of(ledger, plan) if shard is not None),
    )


def _shard_line(ledger: Ledger, shard: Shard) -> ShardLine:
    return ShardLine(
        shard_id=shard.spec.shard_id,
        state=str(shard.state),
        round=shard.spec.round,
        requests=shard.spec.requests,
        attempt=shard.last.attempt,
        batch_id=shard.last.batch_id,
        age_seconds=ledger.age_seconds(shard.since),
        reason=shard.last.reason,
    )


def _print(plans: list[PlanLine], ledger: Ledger, console: Console) -> None:
    if not plans:
        console.print(f"Nothing is there to show in namespace {ledger.namespace!r} of {ledger.store.url}")
        return
    overview = _table("plans", "asset", "partition", "plan", "state", "rows", "results", "shards", "age")
    for line in plans:
        states = Counter(shard.state for shard in line.shards)
        overview.add_row(
            line.asset,
            line.partition or "-",
            str(line.generation),
            line.state,
            f"{line.rows:,}",
            f"{line.results:,} of {line.requests:,}",
            ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "-",
            duration(line.age_seconds),
        )
    console.print(overview)
    shards = [(line, shard) for line in plans for shard in line.shards]
    if shards:
        _print_shards(shards, console)
    for line in plans:
        if line.refused is not None:
            console.print(f"{line.asset} {line.partition or ''} is refused: {line.refused}", soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    """A table that folds what is wide, so that every id is there in full."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_shards(shards: list[tuple[PlanLine, ShardLine]], console: Console) -> None:
    table = _table("shards", "shard", "plan", "state", "requests", "batch", "since")
    for plan, shard in shards:
        table.add_row(
            shard.shard_id,
            f"{plan.asset} {plan.partition or ''} {plan.generation}",
            shard.state,
            f"{shard.requests:,}",
            shard.batch_id or "-",
            duration(shard.age_seconds),
        )
    console.print(table)
    for _, shard in shards:
        if shard.reason:
            console.print(f"shard {shard.shard_id}: {shard.reason}", soft_wrap=True)
