"""Join a plan's rows with their results and publish the table: every planned row once, in input order.

Reads the plan and the results alone, never the source. Memory holds some row groups and 9 packed bytes a request.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets import tables
from batch_assets.content_hash import ContentHash
from batch_assets.engine.calibration import calibrate
from batch_assets.engine.plan import SNAPSHOT_FILE
from batch_assets.engine.reuse import result_files
from batch_assets.engine.spending import Spending
from batch_assets.engine.status import current_ref, plan_status, shards_of
from batch_assets.errors import BatchAssetsError, PlanRefused, StoreError
from batch_assets.fingerprint import encode
from batch_assets.lifecycle import State
from batch_assets.records import Landing, Outcome, PlanRecord, PlanRef, Shard
from batch_assets.schema import OutputSchema

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.tables import TableStore

_CACHED_GROUPS = 8
_FILE_SHIFT = 40
_HIDDEN = frozenset({tables.SNAPSHOT_REQUEST, tables.SNAPSHOT_ERROR})
_NEVER_SENT = "never sent: the plan was canceled, or its next round would have gone over `max_cost_usd`"


def collect(ledger: Ledger, table_store: TableStore, ref: PlanRef) -> Landing:
    """Land the table of a settled plan, or of the newer one that has taken over. Done again, it writes the same table.

    Raises PlanRefused with the plan's reason, BatchAssetsError if the plan is not settled.
    """
    ref = current_ref(ledger, ref)
    plan = ledger.plan(ref)
    if plan.refused is not None:
        raise PlanRefused(plan.refused)
    if not plan_status(ledger, ref).settled:
        raise BatchAssetsError(f"{ref.asset} {ref.partition or ''}: generation {ref.generation} is not settled yet")
    with Results(ledger, plan) as results, table_store.scratch() as file:
        with tables.opened(ledger.store, f"{plan.draft}/{SNAPSHOT_FILE}") as snapshot:
            table = _Table(plan, results, snapshot, ledger.name)
            table.write(file)
        size = file.stat().st_size
        published = table_store.publish(file, ref.asset, ref.partition, ref.generation)
    if not published:
        newer = current_ref(ledger, ref)
        if newer == ref:
            raise StoreError(
                f"{table_store.path(ref.asset, ref.partition)} holds a newer generation than {ref.generation}, and the "
                f"store {ledger.store.url} knows none: it was restored from a backup, say. Move the table away"
            )
        return collect(ledger, table_store, newer)
    return _landing(ledger, plan, table, table_store.path(ref.asset, ref.partition), size)


class Results:
    """The final result of each request of a plan, by the index of the request. A context manager.

    The first success in the order of the rounds wins; where there is none, the last attempt.
    """

    def __init__(self, ledger: Ledger, plan: PlanRecord) -> None:
        self._ledger = ledger
        self._stored = result_files(ledger, plan)
        self._reused = np.array([file.reused for file in self._stored], dtype=bool)
        self._location = np.full(plan.requests, -1, dtype=np.int64)
        self._succeeded = np.zeros(plan.requests, dtype=bool)
        self._stack = ExitStack()
        self._files: list[pq.ParquetFile] = []
        self._starts: list[NDArray[np.int64]] = []
        self._groups: OrderedDict[tuple[int, int], pa.RecordBatch] = OrderedDict()

    def __enter__(self) -> Self:
        try:
            for stored in self._stored:
                self._add(self._stack.enter_context(tables.opened(self._ledger.store, stored.path)))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add(self, file: pq.ParquetFile) -> None:
        number = len(self._files)
        self._files.append(file)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._starts.append(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
        row = 0
        for batch in file.iter_batches(batch_size=tables.BATCH_ROWS, columns=["request", "outcome"], use_threads=False):
            requests = batch.column(0).to_numpy()
            succeeded = pc.equal(batch.column(1), str(Outcome.SUCCEEDED)).to_numpy(zero_copy_only=False)
            better = ~self._succeeded[requests]
            rows = np.arange(row, row + len(requests), dtype=np.int64) | (number << _FILE_SHIFT)
            self._location[requests[better]] = rows[better]
            self._succeeded[requests] |= succeeded
            row += len(requests)

    def take(self, requests: NDArray[np.int64]) -> tuple[pa.RecordBatch | None, NDArray[np.bool_]]:
        """The results of these requests, a null row for -1 and for one without a result; and which were reused."""
        location = (
            np.where(requests >= 0, self._location[np.maximum(requests, 0)], -1)
            if len(self._location)
            else (np.full(len(requests), -1, dtype=np.int64))
        )
        if not self._files:
            return None, np.zeros(len(requests), dtype=bool)
        known = np.flatnonzero(location >= 0)
        file_numbers = location[known] >> _FILE_SHIFT
        rows = location[known] & ((1 << _FILE_SHIFT) - 1)
        groups = np.zeros(len(known), dtype=np.int64)
        for number in np.unique(file_numbers):
            mine = file_numbers == number
            groups[mine] = np.searchsorted(self._starts[int(number)], rows[mine], side="right") - 1
        pieces, order = [], []
        for key in np.unique((file_numbers << 24) | groups):
            number, group = int(key) >> 24, int(key) & ((1 << 24) - 1)
            mine = np.flatnonzero((file_numbers == number) & (groups == group))
            local = rows[mine] - self._starts[number][group]
            pieces.append(_taken(self._group(number, group), local))
            order.append(known[mine])
        reused = np.zeros(len(requests), dtype=bool)
        reused[known] = self._reused[file_numbers]
        if not pieces:
            return _nulls(self._files[0].schema_arrow, len(requests)), reused
        joined = pa.concat_batches(pieces) if len(pieces) > 1 else pieces[0]
        places = np.concatenate(order)
        if len(places) == len(requests) and (places == np.arange(len(places))).all():
            return joined, reused
        back = np.full(len(requests), -1, dtype=np.int64)
        back[places] = np.arange(len(places))
        return joined.take(pa.array(back, mask=back < 0)), reused

    def _group(self, number: int, group: int) -> pa.RecordBatch:
        key = (number, group)
        if key not in self._groups:
            table = self._files[number].read_row_group(group, use_threads=False)
            self._groups[key] = table.combine_chunks().to_batches()[0]
            if len(self._groups) > _CACHED_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def _taken(group: pa.RecordBatch, rows: NDArray[np.int64]) -> pa.RecordBatch:
    if len(rows) and (np.diff(rows) == 1).all():
        return group.slice(int(rows[0]), len(rows))
    return group.take(pa.array(rows))


def _nulls(schema: pa.Schema, rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema)


class _Table:
    """Writes the table of a plan and counts what is in it."""

    def __init__(self, plan: PlanRecord, results: Results, snapshot: pq.ParquetFile, ledger_name: str) -> None:
        self._results, self._snapshot = results, snapshot
        fields = OutputSchema.from_json(plan.output_schema).fields
        self._own = fields.names
        source = [field for field in snapshot.schema_arrow if field.name not in _HIDDEN]
        facts = {
            tables.GENERATION: str(plan.ref.generation).encode(),
            tables.PLAN_ID: plan.plan_id.encode(),
            tables.LEDGER: ledger_name.encode(),
        }
        self.schema = pa.schema([*source, *fields, *tables.OUTPUT], metadata=facts)
        self._hashed = pa.schema(
            [*(field.remove_metadata() for field in fields), ("batch_outcome", pa.string()), ("batch_raw", pa.string())]
        )
        self._content = ContentHash(self._hashed)
        self._snapshot_id = plan.snapshot_id
        self._empty = _nulls(pa.schema([*tables.RESULTS, *fields]), 1)
        self._row_key = plan.row_key
        self._highest = -1
        self.rows = 0
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def write(self, file: Path) -> None:
        """Stream the snapshot's rows to the table."""
        with tables.TableWriter(str(file), self.schema) as writer:
            for rows in tables.by_row_group(self._snapshot):
                writer.write(self._output(rows))

    def _output(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        requests = rows.column(tables.SNAPSHOT_REQUEST).to_numpy()
        found, reused = self._results.take(requests)
        if found is None:
            found = self._empty.take(pa.array(np.zeros(len(requests), dtype=np.int64)))
        outcome = self._outcome(found, requests)
        error = pc.coalesce(found["error"], rows[tables.SNAPSHOT_ERROR])
        never_sent = pc.and_(pc.is_null(found["outcome"]), pc.is_null(error))
        error = pc.if_else(never_sent, _NEVER_SENT, error)
        self._count(outcome, found, requests, rows[self._row_key])
        added = {
            "batch_outcome": outcome,
            "batch_error": error,
            "batch_model": found["model"],
            "batch_finish_reason": found["finish_reason"],
            "batch_input_tokens": found["input_tokens"],
            "batch_cached_tokens": found["cached_tokens"],
            "batch_output_tokens": found["output_tokens"],
            "batch_cost_usd": _usd(found["cost_pico_usd"], bought=self._first(requests) & ~reused),
            "batch_attempts": pc.add(found["round"], 1),
            "batch_id": found["batch_id"],
            "batch_custom_id": _custom_ids(found),
            "batch_cached": pa.array(reused),
            "batch_raw": found["raw"],
        }
        own = [found[name] for name in self._own]
        self._content.add(pa.RecordBatch.from_arrays([*own, outcome, found["raw"]], schema=self._hashed))
        columns = [rows[name] for name in rows.schema.names if name not in _HIDDEN]
        columns += own
        columns += [_as(added[field.name], field.type) for field in tables.OUTPUT]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def data_version(self) -> str:
        """Hash of what is in the table: the snapshot's, which the planner made, and that of the rest."""
        return hashlib.sha256(f"{self._snapshot_id}/{self._content.hexdigest()}".encode()).hexdigest()[:32]

    def _outcome(self, found: pa.RecordBatch, requests: NDArray[np.int64]) -> pa.Array:
        without = pa.array(np.where(requests < 0, str(Outcome.ERRORED), str(Outcome.CANCELED)))
        return pc.coalesce(found["outcome"], without.cast(pa.string()))

    def _first(self, requests: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a row is the first of its request: requests are numbered by first occurrence."""
        highest = np.maximum.accumulate(np.concatenate([[self._highest], requests]))
        self._highest = int(highest[-1])
        return requests > highest[:-1]

    def _count(self, outcome: pa.Array, found: pa.RecordBatch, requests: NDArray[np.int64], row_keys: pa.Array) -> None:
        self.rows += len(requests)
        for entry in pc.value_counts(outcome).to_pylist():
            self.outcomes[entry["values"]] += entry["counts"]
        failed = pc.not_equal(outcome, str(Outcome.SUCCEEDED))
        without = pa.array(np.where(requests < 0, "unrenderable", "never_sent"), pa.string())
        kinds = pc.coalesce(found["error_kind"], without).filter(failed)
        for entry in pc.value_counts(kinds).to_pylist():
            kind = entry["values"]
            self.errors[kind] += entry["counts"]
            if kind not in self.examples:
                self.examples[kind] = str(row_keys.filter(failed)[pc.index(kinds, kind).as_py()].as_py())


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pc.dictionary_encode(column).cast(kind)
    return column.cast(kind)


def _usd(pico: pa.Array, *, bought: NDArray[np.bool_]) -> pa.Array:
    """USD of what this row bought: 0 for a row that shares another row's request or whose result was reused."""
    valid = pico.is_valid().to_numpy(zero_copy_only=False)
    amount = np.where(bought, pico.fill_null(0).to_numpy(zero_copy_only=False), 0)
    halves = np.stack([amount, amount >> 63], axis=1)
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.decimal128(18, 12), len(amount), [bits, pa.py_buffer(np.ascontiguousarray(halves))])


def _custom_ids(found: pa.RecordBatch) -> pa.Array:
    """Of requests that have a batch."""
    prints = found["fingerprint"]
    if prints.null_count:
        prints = prints.fill_null(b"\0" * 32)
    tails = pa.array(encode(tables.fingerprint_rows(prints)).astype("U52"), pa.string())
    joined = pc.binary_join_element_wise(found["shard_id"], tails, "-")
    return pc.if_else(pc.is_valid(found["batch_id"]), joined, pa.scalar(None, pa.string()))


def _taken_over(shard: Shard) -> int:
    """Requests of a shard whose results came from an earlier generation's batches."""
    summary = shard.last.summary
    return sum(summary.outcomes.values()) if shard.state is State.SPLIT and summary is not None else 0


def _landing(ledger: Ledger, plan: PlanRecord, table: _Table, path: str, size_bytes: int) -> Landing:
    """The figures of a landed table."""
    shards = [shard for shard in shards_of(ledger, plan) if shard is not None]
    sent = [shard for shard in shards if shard.last.batch_id is not None]
    spent = Spending.of(shards)
    calibrate(ledger, plan, spent)
    times = [shard.last.batch_times for shard in sent if shard.last.batch_times is not None]
    return Landing(
        ref=plan.ref,
        plan_id=plan.plan_id,
        code_version=plan.code_version,
        output_schema=plan.output_schema,
        prompt_fingerprint=plan.prompt_fingerprint,
        prompt_columns=plan.prompt_columns,
        data_version=table.data_version(),
        path=path,
        planned_rows=plan.rows,
        rows=table.rows,
        outcomes=dict(table.outcomes),
        requests=plan.requests,
        reused=plan.reused + sum(_taken_over(shard) for shard in shards),
        folded=plan.rows - plan.unrenderable - plan.requests,
        attempts=spent.attempts,
        input_tokens=spent.input_tokens,
        cached_tokens=spent.cached_tokens,
        output_tokens=spent.output_tokens,
        cost_usd=spent.cost_usd,
        standard_usd=spent.standard_usd,
        saved_usd=spent.saved_usd,
        rate_source=spent.rate_source or plan.estimate.rate_source,
        estimate=plan.estimate,
        turnaround_seconds=(
            (max(ended for _, ended in times) - min(created for created, _ in times)).total_seconds() if times else None
        ),
        batch_ids=tuple(shard.last.batch_id for shard in sent if shard.last.batch_id is not None),
        errors=dict(table.errors),
        examples=table.examples,
        columns=tuple(
            (field.name, str(field.type), (field.metadata or {}).get(b"description", b"").decode())
            for field in table.schema
        ),
        size_bytes=size_bytes,
    )
