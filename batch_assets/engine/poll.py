"""What a tick learns of an account: one listing at the provider, the open shards in the store, nothing written."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from batch_assets.engine.inherit import may_inherit
from batch_assets.engine.orphans import orphans
from batch_assets.engine.reconcile import is_held
from batch_assets.engine.submit import sendable, unwanted
from batch_assets.engine.tick_line import tick_line
from batch_assets.engine.watch import is_overdue, remark, window_seconds
from batch_assets.errors import NotFound
from batch_assets.lifecycle import State
from batch_assets.records import AccountPoll, BatchInfo, BatchPhase, PlanProgress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batch_assets.ledger import Ledger
    from batch_assets.markers import OpenPlan
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef, Shard

RUNNING = frozenset({State.SUBMITTED, State.CANCELING})


@dataclass(slots=True)
class Listing:
    """What the provider says about an account's batches."""

    batches: dict[str, BatchInfo | None] = field(default_factory=dict)
    """Those asked for; None for one that it does not know. Those that the deadline left out are not there."""
    seen: list[BatchInfo] = field(default_factory=list)
    """All that the list showed as far as it was read."""


def poll_account(ledger: Ledger, provider: Provider, *, deadline_seconds: float = 40.0) -> AccountPoll:
    """What is open on an account and whether there is work for an advance.

    Raises Transient, Blocked, StoreError: the account is then asked again at the next tick.
    """
    shards = ledger.open_shards(provider.account)
    plans = ledger.open_plans(ordinary=False)
    running = [shard for shard in shards if shard.state in RUNNING]
    listing = find_batches(provider, running, deadline_seconds=deadline_seconds)
    states = Counter(shard.state for shard in shards)
    ended = states[State.ENDED] + sum(
        1 for batch in listing.batches.values() if batch is not None and batch.phase is BatchPhase.ENDED
    )
    canceled = {plan.ref for plan in plans if plan.canceled}
    by_id = {shard.spec.shard_id: shard for shard in shards}
    admitted = sendable(ledger, provider, shards)
    other = (
        any(_needs_work(ledger, provider, shard) for shard in shards)
        or any(_needs_attention(ledger, provider, shard, listing, canceled) for shard in running)
        or any(_unopened(ledger, provider.account, plan) for plan in plans if not plan.opened)
        or bool(orphans(ledger, provider.account, listing.seen, by_id))
    )
    return AccountPoll(
        provider=provider.name,
        account=provider.account,
        open=len(shards),
        ended=ended,
        waiting=states[State.WAITING],
        needs_advance=bool(ended or admitted or other),
        summary=tick_line(ledger, provider, shards, listing.batches, ended=ended, admitted=len(admitted)),
        progress=_progress(provider, shards, listing),
    )


def find_batches(
    provider: Provider, shards: Iterable[Shard], *, at_least: int = 0, deadline_seconds: float = 600.0
) -> Listing:
    """The batches of these shards: from the list, and one by one where it does not show them.

    The list is read until all are found, and until it has shown `at_least` so many. Raises Transient or Blocked.
    """
    deadline = time.monotonic() + deadline_seconds
    wanted = {shard.last.batch_id for shard in shards if shard.last.batch_id}
    listing = Listing()
    if not wanted and not at_least:
        return listing
    for batch in provider.batches():
        listing.seen.append(batch)
        if batch.batch_id in wanted:
            listing.batches[batch.batch_id] = batch
        enough = len(listing.batches) == len(wanted) and len(listing.seen) >= at_least
        if enough or time.monotonic() > deadline:
            break
    for batch_id in sorted(wanted - set(listing.batches)):
        if time.monotonic() > deadline:
            break
        try:
            listing.batches[batch_id] = provider.batch(batch_id)
        except NotFound:
            listing.batches[batch_id] = None
    return listing


def may_be_lost(ledger: Ledger, provider: Provider, shard: Shard) -> bool:
    """Whether a batch that the provider does not know now was not known a grace ago either."""
    return bool(shard.last.absences) and ledger.age_seconds(shard.since) >= provider.listing_grace_seconds


def _needs_work(ledger: Ledger, provider: Provider, shard: Shard) -> bool:
    """Whether a shard that has no batch yet can be brought further."""
    last, age = shard.last, ledger.age_seconds(shard.since)
    match shard.state:
        case State.SUBMITTING:
            return age > (last.lease_seconds or ledger.timing.intent_seconds)
        case State.AMBIGUOUS if last.absences:
            return age >= provider.listing_grace_seconds
        case State.AMBIGUOUS:
            return not is_held(shard) or age >= ledger.timing.blocked_seconds
        case State.BLOCKED:
            return unblocks(ledger, shard) or unwanted(ledger, shard) is not None
        case State.WAITING:
            inherits = shard.spec.waits_for_earlier and may_inherit(ledger, shard)
            return inherits or unwanted(ledger, shard) is not None
        case _:
            return False


def _needs_attention(
    ledger: Ledger, provider: Provider, shard: Shard, listing: Listing, canceled: set[PlanRef]
) -> bool:
    """Whether something is to be done about a batch that has not ended, or noted."""
    last = shard.last
    if last.batch_id is None or last.batch_id not in listing.batches:
        return False
    batch = listing.batches[last.batch_id]
    if batch is None:
        return not last.absences or may_be_lost(ledger, provider, shard)
    if batch.phase is BatchPhase.ENDED or batch.due:
        return True
    unheard = shard.state is State.CANCELING and batch.phase is BatchPhase.RUNNING
    unwanted_now = shard.state is State.SUBMITTED and shard.spec.plan in canceled
    noted = batch.note is not None or remark(ledger, provider, shard, batch) == last.reason
    return unheard or unwanted_now or not noted or is_overdue(ledger, provider, shard, batch)


def unblocks(ledger: Ledger, shard: Shard) -> bool:
    """Whether a blocked shard has waited long enough to be tried again."""
    wait = shard.last.retry_after_seconds
    return ledger.age_seconds(shard.since) >= (ledger.timing.blocked_seconds if wait is None else wait)


def _unopened(ledger: Ledger, account: str, found: OpenPlan) -> bool:
    """Whether a planner died between its plan and the opening of its shards."""
    if ledger.age_seconds(found.since) <= ledger.timing.unopened_seconds:
        return False
    try:
        plan = ledger.plan(found.ref)
    except FileNotFoundError:  # its planner died before the plan: there is nothing to open
        return False
    return plan.account == account and plan.refused is None  # the marker may be of a planner for another account


def _progress(provider: Provider, shards: list[Shard], listing: Listing) -> tuple[PlanProgress, ...]:
    """How far the provider is with each plan that has open shards."""
    by_plan: dict[PlanRef, list[Shard]] = defaultdict(list)
    for shard in shards:
        by_plan[shard.spec.plan].append(shard)
    found = []
    for ref, open_shards in by_plan.items():
        listed = [listing.batches.get(shard.last.batch_id or "") for shard in open_shards]
        batches = [batch for batch in listed if batch is not None]
        finished = sum(
            shard.spec.requests
            if batch.phase is BatchPhase.ENDED
            else min(shard.spec.requests, (batch.completed or 0) + (batch.failed or 0))
            for shard, batch in zip(open_shards, listed, strict=True)
            if batch is not None
        )
        windows = [(batch.created_at, window_seconds(provider, batch)) for batch in batches]
        ends = [at + timedelta(seconds=seconds) for at, seconds in windows if seconds < math.inf]
        held_up = [shard.last.reason for shard in open_shards if shard.state in {State.BLOCKED, State.AMBIGUOUS}]
        held_up += [batch.note for batch in batches]
        found.append(
            PlanProgress(
                ref=ref,
                open_requests=sum(shard.spec.requests for shard in open_shards),
                finished_requests=finished,
                batch_ids=tuple(batch.batch_id for batch in batches),
                since=min((batch.created_at for batch in batches), default=None),
                expected_by=max(ends) if len(ends) == len(open_shards) else None,
                reason=next((reason for reason in held_up if reason), None),
            )
        )
    return tuple(found)
