"""Cut the child shard of the requests of a harvested shard that another attempt may cure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_assets import tables
from batch_assets.engine.status import is_current, shards_of
from batch_assets.fingerprint import shard_id
from batch_assets.ledger import new_writer
from batch_assets.pricing import to_usd
from batch_assets.records import ShardSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRecord, ResultSummary, Shard


def cut_child(
    ledger: Ledger, plan: PlanRecord, shard: Shard, curable: NDArray[np.bool_], summary: ResultSummary
) -> str | None:
    """Open the child shard before its parent is harvested; None if nothing is to be tried again.

    Which requests is a function of the parent's results; the child's id is one of the parent's. A superseded plan has
    no further rounds, and none begins that would go over the plan's budget.
    """
    if not curable.any() or shard.spec.round + 1 >= plan.max_attempts or not is_current(ledger, plan.ref):
        return None
    if plan.max_cost_usd is not None and _next_round_usd(ledger, plan, shard, curable, summary) > plan.max_cost_usd:
        return None
    return open_child(ledger, shard, curable, next_round=shard.spec.round + 1)


def open_child(ledger: Ledger, shard: Shard, wanted: NDArray[np.bool_], *, next_round: int) -> str:
    """Write the requests of the child and open it. Done again, it opens the same child."""
    name = shard_id(ledger.store_id, "child", shard.spec.account, shard.spec.shard_id)
    spec = shard.spec
    path = f"{ledger.files(spec)}/requests-{new_writer()}.parquet"
    content_bytes = start = 0
    with (
        tables.stored_batches(ledger.store, spec.path) as batches,
        ledger.store.create(path) as stream,
        tables.writer(stream, tables.REQUESTS, compression="lz4") as writer,
    ):
        for batch in batches:
            kept = batch.filter(pa.array(wanted[start : start + batch.num_rows]))
            start += batch.num_rows
            if kept.num_rows:
                writer.write_batch(kept)
                content_bytes += kept.column("content").nbytes
    share = int(wanted.sum()) / spec.requests
    ledger.open_shard(
        ShardSpec(
            shard_id=name,
            plan=spec.plan,
            account=spec.account,
            provider=spec.provider,
            round=next_round,
            requests=int(wanted.sum()),
            bytes=content_bytes + round((spec.bytes - content_bytes) * share),
            estimated_tokens=round(spec.estimated_tokens * share),
            path=path,
            parent=spec.shard_id,
        )
    )
    return name


def _next_round_usd(
    ledger: Ledger, plan: PlanRecord, shard: Shard, curable: NDArray[np.bool_], summary: ResultSummary
) -> Decimal:
    """What the plan has cost so far with the next round, by the price of this round."""
    spent = summary.cost_pico_usd or 0
    again = spent * int(curable.sum()) // max(1, shard.spec.requests)
    for other in shards_of(ledger, plan):
        if other is not None and other.last.summary is not None and other.spec.shard_id != shard.spec.shard_id:
            spent += other.last.summary.cost_pico_usd or 0
    return to_usd(spent + again)
