"""Fetch what an ended batch finished, check every line off, and store each request's result in the shard's order.

Memory holds one chunk of rows and some 60 packed bytes a request of the shard; lines wait in a local scratch file.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_assets import tables
from batch_assets.engine.results import ResultWriter
from batch_assets.engine.retry import cut_child
from batch_assets.errors import NotFound, Transient
from batch_assets.fingerprint import decode, halves
from batch_assets.ledger import new_writer
from batch_assets.lifecycle import Event
from batch_assets.providers.protocol import ResultLine
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard

_DOWNLOADS = 4
"""How often a download that does not add up is made again before it is left for the next time."""
_CHUNK_BYTES = 16 << 20
_GIVE_UP_SECONDS = 900
"""How long a provider may owe us lines that its own counts promise, before they count as missing."""


@dataclass(slots=True)
class CheckOff:
    """Which line answers which request of a shard, by offset in the scratch file."""

    fingerprints: NDArray[np.uint8]
    shard_id: str
    offsets: NDArray[np.int64] = field(init=False)
    lengths: NDArray[np.int64] = field(init=False)
    duplicates: int = 0
    foreign: int = 0
    garbled: int = 0

    def __post_init__(self) -> None:
        count = len(self.fingerprints)
        self.offsets = np.full(count, -1, dtype=np.int64)
        self.lengths = np.zeros(count, dtype=np.int64)
        self._keys = halves(self.fingerprints)[0]
        self._order = np.argsort(self._keys, kind="stable")
        self._keys = self._keys[self._order]

    _keys: NDArray[np.uint64] = field(init=False)
    _order: NDArray[np.int64] = field(init=False)

    @property
    def answered(self) -> int:
        """Requests that have a line."""
        return int((self.offsets >= 0).sum())

    def add(self, ids: list[str | None], offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Check off lines; only the first line of a request counts, and only if its custom_id is exactly ours."""
        readable = np.array([one is not None for one in ids], dtype=bool)
        self.garbled += int((~readable).sum())
        ours, fingerprints = decode(self.shard_id, [one or "" for one in ids])
        at = np.minimum(np.searchsorted(self._keys, halves(fingerprints)[0]), len(self._keys) - 1)
        places = self._order[at]
        ours &= (self.fingerprints[places] == fingerprints).all(axis=1)
        self.foreign += int((readable & ~ours).sum())
        lines = np.flatnonzero(ours)
        _, first = np.unique(places[lines], return_index=True)
        lines = lines[first]
        lines = lines[self.offsets[places[lines]] < 0]
        self.duplicates += int(ours.sum()) - len(lines)
        self.offsets[places[lines]] = offsets[lines]
        self.lengths[places[lines]] = lengths[lines]


def harvest(
    ledger: Ledger, provider: Provider, shard: Shard, batch: BatchInfo, *, log: Callable[[str], None]
) -> Shard | None:
    """Store the results of an ended batch and open the child shard of the requests to try again.

    None if the results do not add up yet, or another process was first. Raises Transient, Blocked, StoreError.
    """
    if batch.queue_full:
        return ledger.advance(shard, Event.REQUEUE, reason=batch.error_message, batch_id=None, input_file=None)
    plan = ledger.plan(shard.spec.plan)
    with tempfile.TemporaryFile() as scratch:
        checked = _download(ledger, provider, shard, batch, scratch, log)
        if checked is None:
            return None
        with ResultWriter(ledger, plan, shard, batch) as results:
            _write_results(ledger, provider, shard, batch, checked, scratch, results)
    summary = results.summary(duplicates=checked.duplicates, foreign=checked.foreign, garbled=checked.garbled)
    child = cut_child(ledger, plan, shard, results.curable, summary)
    harvested = ledger.advance(
        shard,
        Event.HARVEST,
        results=results.path,
        summary=summary,
        children=(child,) if child else (),
        reason=batch.error_message,
        batch_times=(batch.created_at, batch.ended_at or batch.created_at),
    )
    if harvested is not None and shard.last.input_file is not None:
        provider.delete_input(shard.last.input_file)
    return harvested


def close_without_results(ledger: Ledger, shard: Shard, event: Event, failure: ResultLine) -> Shard | None:
    """End a shard whose requests have one and the same failure: refused at the create call, or its batch is lost."""
    plan = ledger.plan(shard.spec.plan)
    with (
        tables.stored_batches(ledger.store, shard.spec.path, ["request", "fingerprint"]) as requests,
        ResultWriter(ledger, plan, shard, None) as results,
    ):
        for rows in requests:
            results.write(rows, [failure] * rows.num_rows)
    return ledger.advance(shard, event, results=results.path, summary=results.summary(), reason=failure.error)


def _download(
    ledger: Ledger,
    provider: Provider,
    shard: Shard,
    batch: BatchInfo,
    scratch: BinaryIO,
    log: Callable[[str], None],
) -> CheckOff | None:
    """Download until the lines add up: every request answered, or twice the same short answer."""
    fingerprints = _fingerprints(ledger, shard)
    before: NDArray[np.bool_] | None = None
    for _ in range(_DOWNLOADS):
        scratch.seek(0)
        scratch.truncate()
        checked = CheckOff(fingerprints=fingerprints, shard_id=shard.spec.shard_id)
        try:
            _read_lines(ledger, provider, shard, batch, checked, scratch)
        except (Transient, NotFound) as error:
            log(f"batch {batch.batch_id}: {error}; downloading again")
            if isinstance(error, Transient):
                continue
        answered = checked.offsets >= 0
        if answered.all() or _owes_nothing(batch, checked):
            return checked
        if before is not None and (before == answered).all():
            promised = (batch.completed or 0) + (batch.failed or 0)
            if checked.answered >= promised or ledger.age_seconds(shard.since) > _GIVE_UP_SECONDS:
                return checked
        before = answered
        log(f"batch {batch.batch_id}: {checked.answered:,} of {shard.spec.requests:,} results; downloading again")
    return None


def _owes_nothing(batch: BatchInfo, checked: CheckOff) -> bool:
    """A batch that failed at validation has no result files, and none are to come."""
    return batch.raw_status == "failed" and not batch.result_files and not checked.answered


def _read_lines(
    ledger: Ledger, provider: Provider, shard: Shard, batch: BatchInfo, checked: CheckOff, scratch: BinaryIO
) -> None:
    """Stream the lines to scratch, and compressed to the store, and check them off."""
    ids: list[str | None] = []
    lengths: list[int] = []
    start = 0

    def check_off() -> None:
        nonlocal start
        sizes = np.array(lengths, dtype=np.int64)
        ends = start + np.cumsum(sizes)
        checked.add(ids, ends - sizes, sizes)
        start = int(ends[-1])
        ids.clear()
        lengths.clear()

    path = f"{ledger.files(shard.spec)}/raw-{new_writer()}.jsonl.zst"
    with ledger.store.create(path) as stored, pa.CompressedOutputStream(stored, "zstd") as raw:
        for line in provider.results(batch):
            scratch.write(line)
            raw.write(line)
            raw.write(b"\n")
            ids.append(provider.custom_id(line))
            lengths.append(len(line))
            if len(ids) == tables.BATCH_ROWS:
                check_off()
        if ids:
            check_off()
    scratch.flush()


def _write_results(
    ledger: Ledger,
    provider: Provider,
    shard: Shard,
    batch: BatchInfo,
    checked: CheckOff,
    scratch: BinaryIO,
    results: ResultWriter,
) -> None:
    """Parse the lines in the order of the shard's requests and write their results."""
    descriptor = scratch.fileno()
    named = {line - 1 for line in batch.error_lines}
    with tables.stored_batches(ledger.store, shard.spec.path, ["request", "fingerprint"]) as requests:
        start = 0
        for rows in requests:
            for at, stop in _chunks(checked.lengths[start : start + rows.num_rows]):
                places = slice(start + at, start + stop)
                lines = [
                    _unanswered(batch, place in named, bool(named))
                    if offset < 0
                    else _parsed(provider, os.pread(descriptor, length, offset))
                    for place, (offset, length) in enumerate(
                        zip(checked.offsets[places].tolist(), checked.lengths[places].tolist(), strict=True), start + at
                    )
                ]
                results.write(rows.slice(at, stop - at), lines)
            start += rows.num_rows


def _chunks(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Slices of lines that together have at most some megabytes."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK_BYTES, side="right")))
        yield start, stop
        start = stop


def _parsed(provider: Provider, line: bytes) -> ResultLine:
    try:
        return provider.parse(line)
    except ValueError as error:
        return failure(Outcome.ERRORED, f"the result line cannot be read: {error}", "garbled", curable=True)


def _unanswered(batch: BatchInfo, named: bool, some_named: bool) -> ResultLine:
    """The result of a request that has no line."""
    if batch.raw_status == "failed":
        reason = batch.error_message or "no reason given"
        if named or not some_named:
            text = f"the provider refused the batch: {reason}"
            return failure(Outcome.ERRORED, text, batch.error_code or "failed", curable=not named)
        text = f"not executed, since other requests made the batch fail: {reason}"
        return failure(Outcome.ERRORED, text, "batch_failed", curable=True)
    if batch.raw_status == "expired":
        text = "the completion window passed before it was executed"
        return failure(Outcome.EXPIRED, text, "batch_expired", curable=True)
    if batch.raw_status == "cancelled":
        return failure(Outcome.CANCELED, "canceled before it was executed", "batch_cancelled", curable=False)
    text = f"batch {batch.batch_id} ended ({batch.raw_status}) without a result for it"
    return failure(Outcome.MISSING, text, "missing", curable=True)


def failure(outcome: Outcome, error: str, kind: str, *, curable: bool = False) -> ResultLine:
    """The result of a request that was not answered."""
    return ResultLine(custom_id="", outcome=outcome, error=error, error_kind=kind, curable=curable)


def _fingerprints(ledger: Ledger, shard: Shard) -> NDArray[np.uint8]:
    """The fingerprints of a stored shard: shape (requests, 32)."""
    with tables.stored_batches(ledger.store, shard.spec.path, ["fingerprint"]) as batches:
        return np.concatenate([tables.fingerprint_rows(batch.column(0)) for batch in batches])
