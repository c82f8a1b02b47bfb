"""The line that a tick logs of an account: `openai: 12 open, 3 ended, 2 waiting for the queue (1.8M of 2M tokens)`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from batch_assets.engine.submit import account_block
from batch_assets.engine.watch import deletion_note, remark
from batch_assets.lifecycle import AT_PROVIDER, State
from batch_assets.records import BatchPhase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard

_REASONS = 5
"""So many of them are shown."""
_SAID_OTHERWISE = frozenset({State.SUBMITTED, State.ENDED, State.WAITING})


def tick_line(
    ledger: Ledger,
    provider: Provider,
    shards: list[Shard],
    batches: Mapping[str, BatchInfo | None],
    *,
    ended: int,
    admitted: int,
) -> str:
    """How many shards are open and what with, and what a person should know.

    `batches` is what the provider said; `admitted` of the waiting shards are about to be sent.
    """
    if not shards:
        return f"{provider.name}: nothing open"
    states = Counter(shard.state for shard in shards)
    earlier = sum(1 for shard in shards if shard.state is State.WAITING and shard.spec.waits_for_earlier)
    queued = states[State.WAITING] - earlier - admitted
    parts = [f"{len(shards)} open", f"{ended} ended"]
    parts += [f"{admitted} to be sent"] if admitted else []
    parts += [f"{queued} waiting for the queue{_queue(provider, shards)}"] if queued else []
    parts += [f"{earlier} waiting for an earlier plan"] if earlier else []
    parts += [f"{count} {state}" for state, count in sorted(states.items()) if state not in _SAID_OTHERWISE]
    reasons = list(dict.fromkeys(_reasons(ledger, provider, shards, batches)))
    more = [f"and {len(reasons) - _REASONS} reasons more"] if len(reasons) > _REASONS else []
    return "; ".join([f"{provider.name}: {', '.join(parts)}", *reasons[:_REASONS], *more])


def _queue(provider: Provider, shards: list[Shard]) -> str:
    """What of the account's queue is taken, where it has a limit of ours."""
    at_provider = [shard for shard in shards if shard.state in AT_PROVIDER]
    limits = provider.queue
    taken = []
    if limits.max_enqueued_tokens is not None:
        tokens = sum(shard.spec.estimated_tokens for shard in at_provider)
        taken.append(f"{_short(tokens)} of {_short(limits.max_enqueued_tokens)} tokens")
    if limits.max_open_batches is not None:
        taken.append(f"{len(at_provider)} of {limits.max_open_batches} batches")
    return f" ({', '.join(taken)})" if taken else ""


def _short(number: int) -> str:
    """1.8M, 2M, 90k, 512."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


def _reasons(
    ledger: Ledger, provider: Provider, shards: list[Shard], batches: Mapping[str, BatchInfo | None]
) -> Iterator[str]:
    """What a person should know about the open shards."""
    block = account_block(shards)
    if block is not None:
        yield f"nothing is sent: {block.last.reason}"
    for shard in shards:
        batch = batches.get(shard.last.batch_id or "")
        if batch is not None and batch.phase is not BatchPhase.ENDED:
            note = remark(ledger, provider, shard, batch)
            if note:
                yield f"{note}; sent {ledger.age_seconds(shard.sent_at) / 3600:.1f} h ago"
        elif shard.state in {State.BLOCKED, State.AMBIGUOUS} and shard.last.reason and shard is not block:
            yield shard.last.reason
        deletion = deletion_note(ledger, shard)
        if deletion:
            yield deletion
