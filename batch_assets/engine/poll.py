"""What a tick learns of an account: one listing at the provider, the open shards in the store, nothing written."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from batch_assets.admission import admit
from batch_assets.engine.inherit import may_inherit
from batch_assets.engine.submit import INTENT_SECONDS, is_due
from batch_assets.errors import NotFound
from batch_assets.lifecycle import State
from batch_assets.records import AccountPoll, BatchInfo, BatchPhase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import Shard

BLOCKED_SECONDS = 300.0
"""How long a blocked shard is left alone before it is tried again."""
UNOPENED_SECONDS = 60.0
"""How long a planner may take to open the shards of its plan."""


def poll_account(ledger: Ledger, provider: Provider, *, deadline_seconds: float = 40.0) -> AccountPoll:
    """What is open on an account and whether there is work for an advance.

    Raises Transient, Blocked, UnknownStatus, StoreError: the account is then asked again at the next tick.
    """
    shards = ledger.open_shards(provider.account)
    running = [shard for shard in shards if shard.last.batch_id and shard.state in {State.SUBMITTED, State.CANCELING}]
    listed = find_batches(provider, running, deadline_seconds=deadline_seconds)
    ended = sum(1 for batch in listed.values() if batch is None or batch.phase is BatchPhase.ENDED)
    sendable = admit([shard for shard in shards if is_due(ledger, shard)], shards, provider.queue)
    other = any(_needs_work(ledger, shard) for shard in shards) or _unopened(ledger, provider.account)
    states = Counter(shard.state for shard in shards)
    ended += states[State.ENDED]
    return AccountPoll(
        provider=provider.name,
        account=provider.account,
        open=len(shards),
        ended=ended,
        waiting=states[State.WAITING],
        needs_advance=bool(ended or sendable or other),
        summary=_summary(provider, shards, ended),
    )


def find_batches(
    provider: Provider, shards: Iterable[Shard], *, deadline_seconds: float = 600.0
) -> dict[str, BatchInfo | None]:
    """The batches of these shards: from the listing, and one by one where it does not show them; None if gone.

    Those that the deadline leaves out are not in the answer.
    """
    deadline = time.monotonic() + deadline_seconds
    wanted = {shard.last.batch_id for shard in shards if shard.last.batch_id}
    found: dict[str, BatchInfo | None] = {}
    if not wanted:
        return found
    for batch in provider.batches():
        if batch.batch_id in wanted:
            found[batch.batch_id] = batch
        if len(found) == len(wanted) or time.monotonic() > deadline:
            break
    for batch_id in sorted(wanted - set(found)):
        if time.monotonic() > deadline:
            break
        try:
            found[batch_id] = provider.batch(batch_id)
        except NotFound:
            found[batch_id] = None
    return found


def _needs_work(ledger: Ledger, shard: Shard) -> bool:
    """Whether a shard that is not at the provider can be brought further."""
    match shard.state:
        case State.SUBMITTING:
            return ledger.age_seconds(shard.since) > (shard.last.lease_seconds or INTENT_SECONDS)
        case State.AMBIGUOUS:
            return True
        case State.BLOCKED:
            return ledger.age_seconds(shard.since) > BLOCKED_SECONDS
        case State.WAITING:
            return shard.spec.waits_for_earlier and may_inherit(ledger, shard)
        case _:
            return False


def _unopened(ledger: Ledger, account: str) -> bool:
    """Whether a planner died between its plan and the opening of its shards."""
    for found in ledger.open_plans():
        if found.account != account or found.opened or ledger.age_seconds(found.since) <= UNOPENED_SECONDS:
            continue
        try:
            if ledger.plan(found.ref).refused is None:
                return True
        except FileNotFoundError:  # its planner died before the plan: there is nothing to open
            continue
    return False


def _summary(provider: Provider, shards: list[Shard], ended: int) -> str:
    if not shards:
        return f"{provider.name}: nothing open"
    states = Counter(str(shard.state) for shard in shards)
    running = states.pop("submitted", 0)
    parts = [f"{len(shards)} open", f"{ended} ended", f"{running - min(ended, running)} running"]
    waiting = states.pop("waiting", 0)
    if waiting:
        tokens = sum(shard.spec.estimated_tokens for shard in shards if shard.state is State.SUBMITTED)
        limit = provider.queue.max_enqueued_tokens
        queue = f" ({tokens / 1e6:.1f}M of {limit / 1e6:.1f}M tokens enqueued)" if limit else ""
        parts.append(f"{waiting} waiting{queue}")
    parts += [f"{count} {state}" for state, count in sorted(states.items()) if state != "ended"]
    reasons = {shard.last.reason for shard in shards if shard.state is State.BLOCKED and shard.last.reason}
    return f"{provider.name}: {', '.join(parts)}" + "".join(f"; {reason}" for reason in sorted(reasons))
