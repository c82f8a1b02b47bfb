"""Requests that open batches of earlier generations hold: their results are taken, the rest is cut again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_assets import tables
from batch_assets.engine.retry import open_child
from batch_assets.engine.reuse import Reuse
from batch_assets.engine.status import generation_status
from batch_assets.ledger import new_writer
from batch_assets.lifecycle import Event
from batch_assets.records import PlanRef, ResultSummary
from batch_assets.schema import OutputSchema

if TYPE_CHECKING:
    from batch_assets.ledger import Ledger
    from batch_assets.records import Shard


def may_inherit(ledger: Ledger, shard: Shard) -> bool:
    """Whether every earlier generation of the shard's partition is settled."""
    ref = shard.spec.plan
    earlier = [number for number in ledger.open_generations(ref.asset, ref.partition) if number < ref.generation]
    return all(
        generation_status(ledger, PlanRef(asset=ref.asset, partition=ref.partition, generation=number)).settled
        for number in reversed(earlier)
    )


def inherit(ledger: Ledger, shard: Shard) -> Shard | None:
    """Copy the final results of earlier generations to a shard that waited for them, and open a child for the rest."""
    ref = shard.spec.plan
    plan = ledger.plan(ref)
    fields = OutputSchema.from_json(plan.output_schema).fields
    reuse = Reuse.of(ledger, ref, fields, oldest=ref.generation - 1 if plan.refresh else 1)
    locations, numbers = [], []
    with tables.stored_batches(ledger.store, shard.spec.path, ["request", "fingerprint"]) as requests:
        for rows in requests:
            locations.append(reuse.find(tables.fingerprint_rows(rows.column("fingerprint")))[0])
            numbers.append(rows.column("request").to_numpy())
    location, number = np.concatenate(locations), np.concatenate(numbers)
    known = location >= 0
    path = f"{ledger.files(shard.spec)}/results-{new_writer()}.parquet"
    schema = pa.schema([*tables.RESULTS, *fields])
    outcomes: Counter[str] = Counter()
    with ledger.store.create(path) as stream, tables.TableWriter(stream, schema) as writer:
        for batch in reuse.copy(ledger, location[known], number[known]):
            writer.write(batch.cast(schema))
            outcomes.update(batch.column("outcome").to_pylist())
    children = () if known.all() else (open_child(ledger, shard, ~known, path, next_round=0),)
    summary = ResultSummary(
        outcomes=dict(outcomes), cost_pico_usd=0, standard_pico_usd=0, rate_source=plan.estimate.rate_source
    )
    return ledger.advance(shard, Event.SPLIT, results=path, summary=summary, children=children)
