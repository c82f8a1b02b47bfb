"""Write the stored results of a shard: parsed lines to typed columns, validated, priced and counted."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_assets import tables
from batch_assets.ledger import new_writer
from batch_assets.pricing import Kind, cost_pico_usd, resolve_rates
from batch_assets.records import Outcome, ResultSummary
from batch_assets.schema import OutputSchema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import ResultLine
    from batch_assets.records import BatchInfo, PlanRecord, Shard

_ERROR_KINDS = 20
_BATCH: Kind = "batch"
_STANDARD: Kind = "standard"


class ResultWriter:
    """Results of one shard, in the order of its requests, a row group at a time. A context manager."""

    def __init__(self, ledger: Ledger, plan: PlanRecord, shard: Shard, batch: BatchInfo | None) -> None:
        self.path = f"{ledger.files(shard.spec)}/results-{new_writer()}.parquet"
        self._ledger, self._shard = ledger, shard
        self._batch_id = batch.batch_id if batch else None
        schema = OutputSchema.from_json(plan.output_schema)
        self._decoder = schema.decoder()
        self._schema = pa.schema([*tables.RESULTS, *schema.fields])
        at = batch.created_at if batch else plan.created_at
        self._rates = resolve_rates(
            plan.vendor,
            plan.request.model,
            at,
            pricing=plan.pricing,
            assumed_batch_discount=plan.assumed_batch_discount,
            realtime=plan.realtime,
            embeddings=plan.request.endpoint == "embeddings",
        )
        self._outcomes: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._tokens = np.zeros(3, dtype=np.int64)
        self._cost = 0
        self._standard = 0
        self._curable: list[NDArray[np.bool_]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        stream = self._stack.enter_context(self._ledger.store.create(self.path))
        self._writer = self._stack.enter_context(tables.TableWriter(stream, self._schema))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    @property
    def curable(self) -> NDArray[np.bool_]:
        """Which requests of the shard another attempt may cure."""
        return np.concatenate(self._curable) if self._curable else np.zeros(0, dtype=bool)

    def write(self, rows: pa.RecordBatch, lines: Sequence[ResultLine]) -> None:
        """The results of the next requests; `rows` has their columns `request` and `fingerprint`."""
        count = len(lines)
        succeeded = str(Outcome.SUCCEEDED)
        outcomes = [str(line.outcome) for line in lines]
        errors = [line.error for line in lines]
        kinds = [line.error_kind for line in lines]
        curable = [line.curable for line in lines]
        raw: list[str | None] = [None] * count
        decoded = self._decoder.decode([line.text if line.outcome is Outcome.SUCCEEDED else None for line in lines])
        for place, reason in decoded.errors.items():
            line = lines[place]
            outcomes[place], raw[place] = str(Outcome.INVALID), line.text
            cut = line.finish_reason == "length"
            errors[place] = f"cut at max_output_tokens: {reason}" if cut else reason
            kinds[place], curable[place] = "length" if cut else "invalid", not cut
        used = [
            np.fromiter((line.input_tokens for line in lines), np.int64, count=count),
            np.fromiter((line.cached_tokens for line in lines), np.int64, count=count),
            np.fromiter((line.output_tokens for line in lines), np.int64, count=count),
            np.fromiter((line.cache_write_tokens for line in lines), np.int64, count=count),
        ]
        hour = np.fromiter((line.cache_write_1h_tokens for line in lines), np.int64, count=count)
        tokens = used[:3]
        cost, standard = (
            cost_pico_usd(self._rates, used[0], used[1], used[2], used[3], cache_write_1h_tokens=hour, kind=kind)
            for kind in (_BATCH, _STANDARD)
        )
        columns = [
            rows.column("request"),
            rows.column("fingerprint"),
            pa.array(outcomes, pa.string()),
            pa.array(curable, pa.bool_()),
            pa.array(errors, pa.string()),
            pa.array(kinds, pa.string()),
            pa.array(raw, pa.string()),
            pa.array([line.model for line in lines], pa.string()),
            pa.array([line.finish_reason for line in lines], pa.string()),
            *(pa.array(column) for column in tokens),
            pa.nulls(count, pa.int64()) if cost is None else pa.array(cost),
            pa.nulls(count, pa.int64()) if standard is None else pa.array(standard),
            pa.repeat(pa.scalar(self._shard.spec.round, pa.int32()), count),
            pa.repeat(pa.scalar(self._shard.spec.shard_id, pa.string()), count),
            pa.repeat(pa.scalar(self._batch_id, pa.string()), count),
            *decoded.columns,
        ]
        self._writer.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._outcomes.update(outcomes)
        self._errors.update(
            kind for kind, outcome in zip(kinds, outcomes, strict=True) if kind and outcome != succeeded
        )
        self._tokens += [column.sum() for column in tokens]
        self._cost += 0 if cost is None else int(cost.sum())
        self._standard += 0 if standard is None else int(standard.sum())
        self._curable.append(np.array(curable, dtype=bool))

    def summary(self, *, duplicates: int = 0, foreign: int = 0, garbled: int = 0) -> ResultSummary:
        """What was written."""
        return ResultSummary(
            outcomes=dict(self._outcomes),
            input_tokens=int(self._tokens[0]),
            cached_tokens=int(self._tokens[1]),
            output_tokens=int(self._tokens[2]),
            cost_pico_usd=self._cost if self._rates.batch is not None else None,
            standard_pico_usd=self._standard if self._rates.standard is not None else None,
            rate_source=self._rates.rate_source,
            duplicate_lines=duplicates,
            foreign_lines=foreign,
            garbled_lines=garbled,
            errors=dict(self._errors.most_common(_ERROR_KINDS)),
        )
