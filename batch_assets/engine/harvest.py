"""Fetch what an ended batch finished, check every line off, and store each request's result in the shard's order.

Memory holds one chunk of rows and some 60 packed bytes a request of the shard; lines wait in a local scratch file.
"""

from __future__ import annotations

import mmap
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

from batch_assets import tables
from batch_assets.engine.check_off import CheckOff
from batch_assets.engine.results import ResultWriter
from batch_assets.engine.retry import cut_child
from batch_assets.engine.setbacks import delete_input, failure, put_off
from batch_assets.errors import NotFound, Transient
from batch_assets.ledger import new_writer
from batch_assets.lifecycle import Event
from batch_assets.records import Ending, Outcome
from batch_assets.storage.scratch import scratch_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider, ResultLine
    from batch_assets.records import BatchInfo, Shard

_DOWNLOADS = 4
"""How often a download that does not add up is made again before it is left for the next time."""
_LONGEST_PAUSE_SECONDS = 60.0
"""Between them, where the provider asks for one; a longer one is the next advance's."""
_CHUNK_BYTES = 16 << 20
"""Lines that are parsed together."""


@dataclass(slots=True)
class Harvest:
    """The work on one ended batch."""

    ledger: Ledger
    provider: Provider
    shard: Shard
    batch: BatchInfo
    log: Callable[[str], None]
    renew: Callable[[], None]
    """Renews the account's lease: a download may take minutes."""
    _twice: bool = False
    """Whether a request that was executed, and whose result we did not get, is sent again: `on_ambiguous` says so."""
    _again: bool = True
    """Whether a request without a line is sent again in this generation."""
    _resend: bool = False
    """Whether a request that the batch's cancellation left unexecuted is wanted all the same."""

    def run(self) -> Shard | None:
        """Store the results and open the child shard of the requests to try again.

        None if the results do not add up yet, or another process was first. Raises Transient, Blocked, StoreError.
        """
        ledger, shard, batch = self.ledger, self.shard, self.batch
        unexecuted = self._unexecuted()
        if unexecuted is not None:
            delete_input(self.provider, shard.last.input_file, self.log)
            return unexecuted
        plan = ledger.plan(shard.spec.plan)
        with scratch_file() as scratch:
            checked = self._download(scratch)
            if checked is None:
                return None
            self._twice = plan.on_ambiguous == "resubmit"
            self._again = self._twice or checked.answered >= self._promised()
            self._resend = shard.last.resend or ledger.is_surplus(shard.spec.account, batch.batch_id)
            with ResultWriter(ledger, plan, shard, batch) as results:
                self._write(results, checked, scratch)
        summary = results.summary(duplicates=checked.duplicates, foreign=checked.foreign, garbled=checked.garbled)
        child = cut_child(ledger, plan, shard, results.curable, summary=summary, results=results.path)
        harvested = ledger.advance(
            shard,
            Event.HARVEST,
            results=results.path,
            summary=summary,
            children=(child,) if child else (),
            reason=batch.error_message,
            batch_times=(batch.created_at, batch.ended_at or batch.created_at),
        )
        if harvested is not None:
            delete_input(self.provider, shard.last.input_file, self.log)
        return harvested

    def _unexecuted(self) -> Shard | None:
        """A batch that failed before anything was executed, for no fault of its requests: no attempt is counted."""
        ledger, shard, batch = self.ledger, self.shard, self.batch
        if batch.ending is not Ending.FAILED or batch.result_files:
            return None
        if batch.blocked:
            return put_off(ledger, shard, Event.BLOCK, batch.error_message, whole_account=True)
        if batch.queue_full:
            return put_off(ledger, shard, Event.REQUEUE, batch.error_message)
        if shard.last.input_deleted and not batch.error_lines:
            return put_off(
                ledger, shard, Event.REQUEUE, "its input file was deleted before it was known", wait_seconds=0
            )
        return None

    def _download(self, scratch: IO[bytes]) -> CheckOff | None:
        """Download until the lines add up: every request answered, or twice the same short answer."""
        batch = self.batch
        fingerprints = self._fingerprints()
        before: NDArray[np.bool_] | None = None
        for _ in range(_DOWNLOADS):
            self.renew()
            checked = CheckOff(fingerprints=fingerprints, shard_id=self.shard.spec.shard_id)
            try:
                self._read_lines(checked, scratch)
            except Transient as error:
                self.log(f"batch {batch.batch_id}: {error}; downloading again")
                if (error.retry_after_seconds or 0) > _LONGEST_PAUSE_SECONDS:
                    return None
                time.sleep(error.retry_after_seconds or 0)
                continue
            except NotFound as error:
                self.log(f"batch {batch.batch_id}: {error}")
            answered = checked.offsets >= 0
            if answered.all() or (batch.ending is Ending.FAILED and not batch.result_files):
                return checked
            if before is not None and (before == answered).all() and self._owes_nothing(checked.answered):
                return checked
            before = answered
            self.log(f"batch {batch.batch_id}: {checked.answered:,} of {len(answered):,} results; downloading again")
        return None

    def _owes_nothing(self, answered: int) -> bool:
        return (
            answered >= self._promised() or self.ledger.age_seconds(self.shard.since) > self.ledger.timing.owed_seconds
        )

    def _promised(self) -> int:
        """Lines that the provider's own counts say there are."""
        return (self.batch.completed or 0) + (self.batch.failed or 0)

    def _read_lines(self, checked: CheckOff, scratch: IO[bytes]) -> None:
        """Stream the lines to scratch, and compressed to the store, and check them off."""
        scratch.seek(0)
        scratch.truncate()
        custom_id = self.provider.custom_id
        start = 0
        path = f"{self.ledger.files(self.shard.spec)}/raw-{new_writer()}.jsonl.zst"
        with self.ledger.store.create(path) as stored, pa.CompressedOutputStream(stored, "zstd") as raw:
            for lines in _many(self.provider.results(self.batch)):
                text = b"\n".join(lines) + b"\n"
                scratch.write(text)
                scratch.flush()  # lines before a file that is gone are read too
                raw.write(text)
                ids = [custom_id(line) for line in lines]
                start = checked.add(ids, [len(line) for line in lines], start)

    def _write(self, results: ResultWriter, checked: CheckOff, scratch: IO[bytes]) -> None:
        """Parse the lines in the order of the shard's requests and write their results."""
        with (
            _mapped(scratch) as file,
            tables.stored_batches(self.ledger.store, self.shard.spec.path, ["request", "fingerprint"]) as requests,
        ):
            start = 0
            for rows in requests:
                for first, stop in _chunks(checked.lengths[start : start + rows.num_rows]):
                    places = range(start + first, start + stop)
                    found = zip(checked.offsets[places].tolist(), checked.lengths[places].tolist(), strict=True)
                    lines = [
                        self._unanswered(place) if offset < 0 else self._wanted(file[offset : offset + length])
                        for place, (offset, length) in zip(places, found, strict=True)
                    ]
                    results.write(rows.slice(first, stop - first), lines)
                    if isinstance(file, mmap.mmap):
                        file.madvise(mmap.MADV_DONTNEED)  # the lines that were read need no memory any more
                start += rows.num_rows

    def _wanted(self, line: bytes) -> ResultLine:
        """A line, read. One of a cancellation that nobody asked for on the request's account is to be sent again."""
        parsed = self._parsed(line)
        if self._resend and parsed.outcome is Outcome.CANCELED:
            return msgspec.structs.replace(parsed, curable=True)
        return parsed

    def _parsed(self, line: bytes) -> ResultLine:
        try:
            return self.provider.parse(line)
        except ValueError as error:
            return failure(Outcome.ERRORED, f"the result line cannot be read: {error}", "garbled", curable=self._twice)

    def _unanswered(self, place: int) -> ResultLine:
        """The result of a request that has no line."""
        batch = self.batch
        if batch.ending is Ending.FAILED:
            reason = batch.error_message or "no reason given"
            named = place + 1 in batch.error_lines
            if named or not batch.error_lines:
                text = f"the provider refused the batch: {reason}"
                return failure(Outcome.ERRORED, text, batch.error_code or "failed", curable=not named)
            text = f"not executed, since other requests made the batch fail: {reason}"
            return failure(Outcome.ERRORED, text, "batch_failed", curable=True)
        if batch.ending is Ending.EXPIRED:
            text = "the completion window passed before it was executed"
            return failure(Outcome.EXPIRED, text, "batch_expired", curable=True)
        if batch.ending is Ending.CANCELED:
            return failure(Outcome.CANCELED, "canceled before it was executed", "batch_canceled", curable=self._resend)
        text = f"batch {batch.batch_id} ended ({batch.raw_status}) without a result for it"
        if self._again:
            return failure(Outcome.MISSING, text, "missing", curable=True)
        text += ", although the provider counts it as done: sent again, it may be paid for twice"
        return failure(Outcome.MISSING, text, "missing")

    def _fingerprints(self) -> NDArray[np.uint8]:
        """The fingerprints of the shard's requests: shape (requests, 32)."""
        with tables.stored_batches(self.ledger.store, self.shard.spec.path, ["fingerprint"]) as batches:
            return np.concatenate([tables.fingerprint_rows(batch.column(0)) for batch in batches])


def _many(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lines by the thousand, or by some megabytes. Those before a file that is gone come before its NotFound."""
    held: list[bytes] = []
    size = 0
    gone: NotFound | None = None
    try:
        for line in lines:
            held.append(line)
            size += len(line)
            if len(held) == tables.BATCH_ROWS or size > _CHUNK_BYTES:
                yield held
                held, size = [], 0
    except NotFound as error:
        gone = error
    if held:
        yield held
    if gone is not None:
        raise gone


@contextmanager
def _mapped(scratch: IO[bytes]) -> Iterator[mmap.mmap | bytes]:
    """The scratch file as bytes in memory that the system may take back."""
    if not os.fstat(scratch.fileno()).st_size:
        yield b""
        return
    with mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ) as file:
        yield file


def _chunks(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Slices of lines that together have at most some megabytes."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK_BYTES, side="right")))
        yield start, stop
        start = stop
