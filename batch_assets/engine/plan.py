"""Write the plan of a partition: stream its rows, fold them, take what earlier generations know, cut shards.

The order is: head read, source read, draft written, open marker, plan, shards opened. Nothing is sent here.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets import tables
from batch_assets.content_hash import ContentHash
from batch_assets.engine.budget import Budget
from batch_assets.engine.opening import open_plan
from batch_assets.engine.reuse import REUSED_FILE, Reuse
from batch_assets.engine.status import generation_status
from batch_assets.errors import InputError
from batch_assets.fingerprint import Fingerprinter, shard_id
from batch_assets.ledger import new_writer
from batch_assets.planner import Planner, ShardCutter, in_batches
from batch_assets.records import Outcome, PlanRecord, PlanRef, ShardSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from batch_assets.engine.spec import AssetSpec
    from batch_assets.ledger import Ledger
    from batch_assets.planner import PlannedBatch
    from batch_assets.providers.protocol import Provider

SNAPSHOT_FILE = "snapshot.parquet"


def plan_partition(
    ledger: Ledger,
    provider: Provider,
    spec: AssetSpec,
    partition: str | None,
    batches: Iterable[pa.RecordBatch] | pa.RecordBatchReader,
    *,
    refresh: bool = False,
) -> PlanRecord:
    """The current plan of a partition for these rows: the one that is there if nothing changed, else a new generation.

    A plan over budget is returned refused, with the figures. `refresh` buys every request anew.
    Raises ConfigError, InputError, StoreError; nothing was sent then.
    """
    provider.check_credentials()
    provider.check(spec.request)
    spec.prompt.check_parts(provider.envelope(spec.request).parts)
    head = ledger.head(spec.asset, partition)
    ref = PlanRef(asset=spec.asset, partition=partition, generation=head.ref.generation + 1 if head else 1)
    reuse = Reuse.of(ledger, ref, spec.schema.fields, results=not refresh)
    draft = _Draft(ledger, provider, spec, ref, reuse, refresh)
    try:
        plan = draft.write(batches)
    except BaseException:
        draft.discard()
        raise
    if head is not None and not refresh and _same(head, plan) and not _wants_more(ledger, head, plan):
        draft.discard()
        plan = head
    elif not ledger.publish_plan(plan):  # if that raises, the plan may be there all the same: the draft stays
        draft.discard()
        plan = ledger.plan(ref)  # another planner, which had read the same head, was first: join its plan
    if not generation_status(ledger, plan.ref).settled:
        open_plan(ledger, plan)
    return plan


def _same(head: PlanRecord, plan: PlanRecord) -> bool:
    unchanged = (head.plan_id, head.snapshot_id) == (plan.plan_id, plan.snapshot_id)
    return unchanged and head.refused is None and plan.refused is None


def _wants_more(ledger: Ledger, head: PlanRecord, plan: PlanRecord) -> bool:
    """Whether the head leaves requests without a final result, settled or canceled: the new plan would send them."""
    return bool(plan.shards) and (ledger.is_canceled(head.ref) or generation_status(ledger, head.ref).settled)


@dataclass(slots=True)
class _OpenShard:
    """A shard whose requests are being written."""

    path: str
    stack: ExitStack
    writer: tables.TableWriter
    requests: int = 0
    content_bytes: int = 0
    media_bytes: int = 0
    media_tokens: int = 0


@dataclass(slots=True)
class _Lane:
    """Requests that are cut into shards together."""

    cutter: ShardCutter
    waits: bool
    """Open batches of earlier generations hold them."""
    shards: list[_OpenShard] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    """The files of a plan in the making."""

    ledger: Ledger
    provider: Provider
    spec: AssetSpec
    ref: PlanRef
    reuse: Reuse
    refresh: bool
    folder: str = field(init=False)
    _paths: list[str] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _reused: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    _reused_failures: int = 0

    def __post_init__(self) -> None:
        self.folder = self.ledger.new_draft(self.ref.asset, self.ref.partition)

    def discard(self) -> None:
        """Delete its files."""
        for path in self._paths:
            self.ledger.store.delete(path)

    def write(self, batches: Iterable[pa.RecordBatch] | pa.RecordBatchReader) -> PlanRecord:
        """Stream the rows into the draft and return the plan that names it."""
        spec, provider = self.spec, self.provider
        envelope = provider.envelope(spec.request)
        limits = provider.limits
        planner = Planner(
            prompt=spec.prompt,
            fingerprinter=Fingerprinter(spec.request, vendor=provider.vendor, host=provider.host),
            row_key=spec.row_key,
            max_content_bytes=min(limits.max_request_bytes, limits.max_bytes) - envelope.overhead_bytes,
            form=envelope.parts,
        )
        budget = Budget(
            spec,
            provider.vendor,
            provider.assumed_batch_discount,
            realtime=limits.realtime,
            calibration=self.ledger.calibration(self.ref.asset, spec.code_version),
        )
        lanes = [
            _Lane(ShardCutter(limits.max_requests, limits.max_bytes, envelope.overhead_bytes), waits=waits)
            for waits in (False, True)
        ]
        schema, stream = _with_schema(batches)
        kept = spec.kept_columns(schema) if schema is not None else [spec.row_key]
        if schema is not None:
            spec.prompt.check(schema.names)
        with self._stack:
            snapshot = _Snapshot(schema, kept, self._open(SNAPSHOT_FILE, self._stack))
            self._stack.enter_context(snapshot.writer)
            for batch in in_batches(stream):
                planned = planner.add(batch)
                snapshot.add(batch, planned)
                self._place(planned, lanes, budget)
        plan_id = planner.finish()
        reused = self._write_reused()
        shards = self._specs(lanes, envelope.overhead_bytes, budget)
        estimate = budget.estimate()
        return PlanRecord(
            ref=self.ref,
            plan_id=plan_id,
            snapshot_id=snapshot.identity(),
            code_version=spec.code_version,
            draft=self.folder,
            provider=spec.provider,
            account=provider.account,
            vendor=provider.vendor,
            request=spec.request,
            row_key=spec.row_key,
            rows=planner.rows,
            requests=planner.requests,
            unrenderable=planner.unrenderable,
            reused=reused,
            shards=shards,
            output_schema=spec.schema.to_json(),
            estimate=estimate,
            max_attempts=spec.max_attempts,
            max_cost_usd=spec.max_cost_usd,
            refused=budget.refusal(estimate),
            created_at=datetime.now(UTC),
            writer=new_writer(),
            pricing={model: dict(rates) for model, rates in spec.pricing.items()},
            assumed_batch_discount=provider.assumed_batch_discount,
            realtime=limits.realtime,
            on_change=spec.on_change,
            on_ambiguous=spec.on_ambiguous,
            refresh=self.refresh,
            prompt_fingerprint=hashlib.sha256(spec.prompt.identity.encode()).hexdigest()[:16],
            prompt_columns=tuple(sorted(spec.prompt.columns or (schema.names if schema is not None else ()))),
            reused_failures=self._reused_failures,
        )

    def _open(self, name: str, stack: ExitStack) -> BinaryIO:
        path = f"{self.folder}/{name}"
        self._paths.append(path)
        return stack.enter_context(self.ledger.store.create(path))

    def _place(self, planned: PlannedBatch, lanes: list[_Lane], budget: Budget) -> None:
        """Send each new request to its place: results that are known, batches under way, or a shard."""
        location, pending = self.reuse.find(planned.fingerprints)
        numbers = np.arange(planned.first, planned.first + len(planned.contents), dtype=np.int64)
        known = np.flatnonzero(location >= 0)
        if len(known):
            self._reused.append((location[known], numbers[known]))
        for lane in lanes:
            places = np.flatnonzero((location < 0) & (pending == lane.waits))
            if not len(places):
                continue
            rows = _requests(planned, numbers, places)
            sizes = pc.binary_length(rows["content"]).cast(pa.int64()).to_numpy()
            sample = rows["content"].slice(0, Budget.SAMPLE).to_pylist()
            not_text = _Media.of(planned, places)
            budget.add(sample, sizes - not_text.bytes, not_text.tokens, under_way=lane.waits)
            for start, stop, begins in lane.cutter.cut(sizes):
                shard = self._next_shard(lane) if begins else lane.shards[-1]
                shard.writer.write(rows.slice(start, stop - start))
                shard.requests += stop - start
                shard.content_bytes += int(sizes[start:stop].sum())
                shard.media_bytes += int(not_text.bytes[start:stop].sum())
                shard.media_tokens += int(not_text.tokens[start:stop].sum())

    def _next_shard(self, lane: _Lane) -> _OpenShard:
        """Finish the file of the lane's last shard and begin the next."""
        if lane.shards:
            lane.shards[-1].stack.close()
        name = f"{'waiting' if lane.waits else 'shard'}-{len(lane.shards):05}.parquet"
        stack = self._stack.enter_context(ExitStack())
        writer = stack.enter_context(tables.TableWriter(self._open(name, stack), tables.REQUESTS, compression="lz4"))
        lane.shards.append(_OpenShard(path=f"{self.folder}/{name}", stack=stack, writer=writer))
        return lane.shards[-1]

    def _write_reused(self) -> int:
        if not self._reused:
            return 0
        locations, numbers = (np.concatenate(parts) for parts in zip(*self._reused, strict=True))
        schema = pa.schema([*tables.RESULTS, *self.spec.schema.fields])
        with ExitStack() as stack:
            path = f"{self.folder}/{REUSED_FILE}"
            self._paths.append(path)
            stream = stack.enter_context(self.ledger.store.create(path))
            writer = stack.enter_context(tables.TableWriter(stream, schema))
            for batch in self.reuse.copy(self.ledger, locations, numbers):
                writer.write(batch.cast(schema))
                succeeded = pc.sum(pc.equal(batch["outcome"], str(Outcome.SUCCEEDED))).as_py()
                self._reused_failures += batch.num_rows - succeeded
        return len(numbers)

    def _specs(self, lanes: list[_Lane], overhead_bytes: int, budget: Budget) -> tuple[ShardSpec, ...]:
        shards = [(shard, lane.waits) for lane in lanes for shard in lane.shards]
        return tuple(
            ShardSpec(
                shard_id=shard_id(
                    self.ledger.store_id,
                    self.ledger.namespace,
                    self.ref.asset,
                    self.ref.partition or "",
                    self.ref.partition is None,
                    self.ref.generation,
                    self.folder,
                    number,
                ),
                plan=self.ref,
                account=self.provider.account,
                provider=self.spec.provider,
                round=0,
                requests=shard.requests,
                bytes=shard.content_bytes + shard.requests * overhead_bytes,
                estimated_tokens=budget.input_tokens(
                    shard.content_bytes - shard.media_bytes, shard.requests, shard.media_tokens
                ),
                path=shard.path,
                waits_for_earlier=waits,
            )
            for number, (shard, waits) in enumerate(shards)
        )


class _Snapshot:
    """The source columns of the output, with each row's request."""

    def __init__(self, schema: pa.Schema | None, kept: list[str], stream: BinaryIO) -> None:
        source = [schema.field(name) for name in kept] if schema is not None else []
        own = [pa.field(tables.SNAPSHOT_REQUEST, pa.int64()), pa.field(tables.SNAPSHOT_ERROR, pa.string())]
        self._kept = kept
        self._source = pa.schema(source)
        self._schema = pa.schema([*source, *own])
        self.writer = tables.TableWriter(stream, self._schema)
        self._hash = ContentHash(self._source)

    def add(self, batch: pa.RecordBatch, planned: PlannedBatch) -> None:
        rows = batch.select(self._kept)
        self._hash.add(rows)
        errors = [planned.errors.get(place) for place in range(batch.num_rows)] if planned.errors else None
        error_column = pa.array(errors, pa.string()) if errors else pa.nulls(batch.num_rows, pa.string())
        columns = [*rows.columns, pa.array(planned.requests), error_column]
        self.writer.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def identity(self) -> str:
        return self._hash.hexdigest()


class _Media(NamedTuple):
    """Of each request what is not text."""

    bytes: NDArray[np.int64]
    tokens: NDArray[np.int64]

    @classmethod
    def of(cls, planned: PlannedBatch, places: NDArray[np.int64]) -> _Media:
        if not planned.media:
            nothing = np.zeros(len(places), dtype=np.int64)
            return cls(nothing, nothing)
        weights = [planned.media.get(at) for at in places.tolist()]
        return cls(
            np.array([weight.bytes if weight else 0 for weight in weights], dtype=np.int64),
            np.array([weight.tokens if weight else 0 for weight in weights], dtype=np.int64),
        )


def _requests(planned: PlannedBatch, numbers: NDArray[np.int64], places: NDArray[np.int64]) -> pa.RecordBatch:
    everything = len(places) == len(planned.contents)
    contents = planned.contents if everything else planned.contents.take(pa.array(places))
    fingerprints = planned.fingerprints if everything else planned.fingerprints[places]
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(places), [None, pa.py_buffer(np.ascontiguousarray(fingerprints))]
    )
    return pa.RecordBatch.from_arrays(
        [pa.array(numbers[places]), packed, contents.cast(pa.binary())], schema=tables.REQUESTS
    )


def _with_schema(
    batches: Iterable[pa.RecordBatch] | pa.RecordBatchReader,
) -> tuple[pa.Schema | None, Iterator[pa.RecordBatch]]:
    """The schema of the rows and the rows; None if there is not even an empty batch to tell it."""
    if isinstance(batches, pa.RecordBatchReader):
        return batches.schema, iter(batches)
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        return None, iter(())
    schema = first.schema

    def checked() -> Iterator[pa.RecordBatch]:
        yield first
        for batch in stream:
            if not batch.schema.equals(schema):
                raise InputError(
                    f"the rows change their columns on the way: {schema.names} at first, then {batch.schema}"
                )
            yield batch

    return schema, checked()
