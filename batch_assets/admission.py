"""Which waiting shards may be sent now: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batch_assets.lifecycle import AT_PROVIDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_assets.records import Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What an account may have at the provider at one time. None: no limit of ours; the provider says when to wait."""

    max_open_batches: int | None = None
    max_enqueued_tokens: int | None = None


def admit(waiting: Sequence[Shard], open_shards: Sequence[Shard], limits: QueueLimits) -> list[Shard]:
    """The waiting shards that fit, in their order; one that is larger than the whole queue goes when that is empty."""
    at_provider = [shard for shard in open_shards if shard.state in AT_PROVIDER]
    batches = len(at_provider)
    tokens = sum(shard.spec.estimated_tokens for shard in at_provider)
    admitted: list[Shard] = []
    for shard in waiting:
        if limits.max_open_batches is not None and batches >= limits.max_open_batches:
            break
        after = tokens + shard.spec.estimated_tokens
        if limits.max_enqueued_tokens is not None and after > limits.max_enqueued_tokens and batches:
            break  # later ones wait too: a small shard must not starve a large one
        admitted.append(shard)
        batches += 1
        tokens = after
    return admitted
