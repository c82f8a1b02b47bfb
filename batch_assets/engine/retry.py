"""Cut the child shard of the requests of a harvested shard that another attempt may cure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets import tables
from batch_assets.engine.status import is_current, shards_of
from batch_assets.fingerprint import shard_id
from batch_assets.ledger import new_writer
from batch_assets.lifecycle import TERMINAL
from batch_assets.pricing import to_usd
from batch_assets.records import ShardSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRecord, ResultSummary, Shard


def cut_child(
    ledger: Ledger, plan: PlanRecord, shard: Shard, curable: NDArray[np.bool_], *, summary: ResultSummary, results: str
) -> str | None:
    """Open the child shard before its parent is harvested; None if nothing is to be tried again.

    Which requests is a function of the stored `results`, and so is the child's id: of two harvests that differ, each
    cuts its own child, and only the one that the parent's journal names is ever sent. A superseded or canceled plan
    has no further rounds, and none begins that would go over the plan's budget.
    """
    if not curable.any() or not may_retry(ledger, plan, shard):
        return None
    wanted = int(curable.sum())
    if plan.max_cost_usd is not None and _committed_usd(ledger, plan, shard, wanted, summary) > plan.max_cost_usd:
        return None
    return open_child(ledger, shard, curable, results, next_round=shard.spec.round + 1)


def may_retry(ledger: Ledger, plan: PlanRecord, shard: Shard) -> bool:
    """Whether the plan has another round for requests of the shard, money aside."""
    more = shard.spec.round + 1 < plan.max_attempts
    return more and not ledger.is_canceled(plan.ref) and is_current(ledger, plan.ref)


def open_child(
    ledger: Ledger, shard: Shard, wanted: NDArray[np.bool_], results: str, *, next_round: int, part: int = 0
) -> str:
    """Write the requests of the child and open it. It waits until the parent's journal names it."""
    spec = shard.spec
    name = shard_id(ledger.store_id, "child", spec.account, spec.shard_id, results, part)
    path = f"{ledger.files(spec)}/requests-{new_writer()}.parquet"
    all_bytes = kept_bytes = start = 0
    with (
        tables.stored_requests(ledger.store, spec.path) as batches,
        ledger.store.create(path) as stream,
        tables.TableWriter(stream, tables.REQUESTS, compression="lz4") as writer,
    ):
        for batch in batches:
            kept = batch.filter(pa.array(wanted[start : start + batch.num_rows]))
            start += batch.num_rows
            all_bytes += _content_bytes(batch)
            if kept.num_rows:
                writer.write(kept)
                kept_bytes += _content_bytes(kept)
    count = int(wanted.sum())
    overhead_bytes = (spec.bytes - all_bytes) // spec.requests
    ledger.open_shard(
        ShardSpec(
            shard_id=name,
            plan=spec.plan,
            account=spec.account,
            provider=spec.provider,
            round=next_round,
            requests=count,
            bytes=kept_bytes + count * overhead_bytes,
            estimated_tokens=spec.estimated_tokens * count // spec.requests,
            path=path,
            parent=spec.shard_id,
        )
    )
    return name


def _content_bytes(batch: pa.RecordBatch) -> int:
    return int(pc.sum(pc.binary_length(batch.column("content"))).as_py() or 0)


def _committed_usd(ledger: Ledger, plan: PlanRecord, shard: Shard, wanted: int, summary: ResultSummary) -> Decimal:
    """What the plan has cost, and may at most cost with what is open and `wanted` requests more.

    "At most" goes by the plan's bound for one request; without max_output_tokens, by its estimate.
    """
    spent = summary.cost_pico_usd or 0
    ahead = wanted
    for other in shards_of(ledger, plan):
        if other is None or other.spec.shard_id == shard.spec.shard_id:
            continue
        if other.last.summary is not None:
            spent += other.last.summary.cost_pico_usd or 0
        elif other.state not in TERMINAL:
            ahead += other.spec.requests
    bound, planned = plan.estimate.max_usd, plan.shards
    if bound is None:
        bound, planned = plan.estimate.usd, tuple(spec for spec in plan.shards if not spec.waits_for_earlier)
    requests = sum(spec.requests for spec in planned)
    return to_usd(spent) + (ahead * (bound or Decimal(0)) / requests if requests else Decimal(0))
