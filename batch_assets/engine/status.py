"""Where a plan stands, read from the store alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from batch_assets.engine.spending import Spending
from batch_assets.engine.watch import deletion_note
from batch_assets.lifecycle import TERMINAL, State
from batch_assets.records import Outcome, PlanRecord, PlanRef, PlanStatus, ResultSummary, Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_assets.ledger import Ledger


def shards_of(ledger: Ledger, plan: PlanRecord) -> Iterator[Shard | None]:
    """Every shard of a plan, rounds in order; None for one that is named but has not been opened."""
    if plan.refused is not None:
        return
    names = [spec.shard_id for spec in plan.shards]
    while names:
        children: list[str] = []
        for name in names:
            shard = ledger.find_shard(plan.account, name)
            yield shard
            if shard is not None:
                children += shard.last.children
        names = children


def plan_status(ledger: Ledger, ref: PlanRef) -> PlanStatus:
    """Where the plan stands that lands where `ref` was to land: its own, or a newer one that has taken over.

    Raises FileNotFoundError if there is no such plan.
    """
    return generation_status(ledger, current_ref(ledger, ref))


def generation_status(ledger: Ledger, ref: PlanRef) -> PlanStatus:
    """Where the plan of exactly one generation stands. A settled plan's markers are removed on the way.

    Raises FileNotFoundError if there is no such plan.
    """
    plan = ledger.plan(ref)
    shards = list(shards_of(ledger, plan))
    known = [shard for shard in shards if shard is not None]
    settled = len(known) == len(shards) and all(shard.state in TERMINAL for shard in known)
    if settled:
        ledger.close_plan(ref)
    sizes = {shard.spec.shard_id: shard.spec.requests for shard in known}
    finished = sum(
        shard.spec.requests - sum(sizes.get(child, 0) for child in shard.last.children)
        for shard in known
        if shard.last.results
    )
    reasons = [f"shard {shard.spec.shard_id}: {shard.last.reason}" for shard in known if _needs_telling(shard)]
    reasons += [note for shard in known if (note := deletion_note(ledger, shard)) is not None]
    summaries = [shard.last.summary for shard in known if shard.last.summary is not None]
    failed, invalid = _failures(plan, summaries)
    return PlanStatus(
        ref=ref,
        plan_id=plan.plan_id,
        settled=settled,
        refused=plan.refused,
        requests=plan.requests,
        results=plan.reused + finished,
        states=dict(Counter(str(shard.state) for shard in known)),
        batch_ids=tuple(shard.last.batch_id for shard in known if shard.last.batch_id),
        reasons=tuple(reasons),
        rows=plan.rows,
        failed_rows=plan.unrenderable + failed,
        invalid_rows=invalid,
        cost_usd=Spending.of(known).cost_usd,
    )


def _failures(plan: PlanRecord, summaries: list[ResultSummary]) -> tuple[int, int]:
    """Rows whose request did not succeed, and rows whose response does not fit, at most.

    The counts are of requests: where one fails, all folded rows may be its.
    """
    reused_failures = plan.reused if plan.reused_failures is None else plan.reused_failures
    outcomes: Counter[str] = sum((Counter(summary.outcomes) for summary in summaries), Counter())
    failed = plan.requests - plan.reused - outcomes[Outcome.SUCCEEDED] + reused_failures
    invalid = outcomes[Outcome.INVALID] + reused_failures
    folded = plan.rows - plan.unrenderable - plan.requests
    return failed + folded * bool(failed), invalid + folded * bool(invalid)


def current_ref(ledger: Ledger, ref: PlanRef) -> PlanRef:
    """The plan that lands where `ref` was to land: the newest generation of the partition that was not refused."""
    for generation in reversed(ledger.generations(ref.asset, ref.partition)):
        newest = PlanRef(asset=ref.asset, partition=ref.partition, generation=generation)
        if generation <= ref.generation or ledger.plan(newest).refused is None:
            return newest if generation > ref.generation else ref
    return ref


def is_current(ledger: Ledger, ref: PlanRef) -> bool:
    """Whether no newer plan of the partition has taken over."""
    return current_ref(ledger, ref) == ref


def spent_since(ledger: Ledger, ref: PlanRef, after: int) -> Spending:
    """Of the partition's generations above `after`, up to that of `ref`: those that never landed cost money too."""
    shards: list[Shard] = []
    for generation in ledger.generations(ref.asset, ref.partition):
        if after < generation <= ref.generation:
            plan = ledger.plan(PlanRef(asset=ref.asset, partition=ref.partition, generation=generation))
            shards += [shard for shard in shards_of(ledger, plan) if shard is not None]
    return Spending.of(shards)


def _needs_telling(shard: Shard) -> bool:
    return bool(shard.last.reason) and (shard.state not in TERMINAL or shard.state in {State.REFUSED, State.LOST})
