"""What batches have cost, from what each harvest recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batch_assets.pricing import to_usd
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from batch_assets.records import Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Every attempt counts, invalid and superseded ones too. USD are None where a rate is not known."""

    attempts: int
    """Requests sent."""
    answered: int
    """Of them, those with a response, which have tokens."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    standard_usd: Decimal | None
    """The same tokens at standard price."""
    rate_source: str | None
    """None if nothing was harvested."""

    @property
    def saved_usd(self) -> Decimal | None:
        """Standard price less cost."""
        return None if self.cost_usd is None or self.standard_usd is None else self.standard_usd - self.cost_usd

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> Spending:
        """Of these shards together."""
        shards = list(shards)
        summaries = [shard.last.summary for shard in shards if shard.last.summary is not None]
        costs = [summary.cost_pico_usd for summary in summaries]
        standards = [summary.standard_pico_usd for summary in summaries]
        return cls(
            attempts=sum(shard.spec.requests for shard in shards if shard.last.batch_id is not None),
            answered=sum(
                summary.outcomes.get(Outcome.SUCCEEDED, 0) + summary.outcomes.get(Outcome.INVALID, 0)
                for shard in shards
                if shard.last.batch_id is not None and (summary := shard.last.summary) is not None
            ),
            input_tokens=sum(summary.input_tokens for summary in summaries),
            cached_tokens=sum(summary.cached_tokens for summary in summaries),
            output_tokens=sum(summary.output_tokens for summary in summaries),
            cost_usd=None if None in costs else to_usd(sum(one or 0 for one in costs)),
            standard_usd=None if None in standards else to_usd(sum(one or 0 for one in standards)),
            rate_source=summaries[0].rate_source if summaries else None,
        )
