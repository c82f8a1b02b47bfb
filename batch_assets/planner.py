"""From the rows of a partition to distinct requests and shards: pure, one batch of rows at a time.

Memory grows by some 50 packed bytes a row (two 128-bit hashes with their positions) and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.content_hash import HASHED_ROWS
from batch_assets.errors import InputError
from batch_assets.fingerprint import halves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from batch_assets.fingerprint import Fingerprinter
    from batch_assets.parts import MediaWeight, PartsForm
    from batch_assets.prompts import Prompt

BATCH_ROWS = 8_192
"""Rows that are worked on at a time, at most."""
BATCH_BYTES = 16 << 20
"""Bytes of rows that are worked on at a time, where that are fewer rows."""

_OFFENDERS = 5


class HashIndex:
    """Finds the first position of a 128-bit hash: sorted runs of packed arrays, merged as they grow."""

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]] = []

    def find(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The position that each hash was added with; -1 where it was not."""
        order = np.argsort(high)
        high, low = high[order], low[order]  # neighbours are found in the same cache lines
        found = np.full(len(high), -1, dtype=np.int64)
        for run_high, run_low, run_position in self._runs:
            at = np.minimum(np.searchsorted(run_high, high), len(run_high) - 1)
            hit = np.flatnonzero((run_high[at] == high) & (run_low[at] == low))
            found[order[hit]] = run_position[at[hit]]
        return found

    def add(self, high: NDArray[np.uint64], low: NDArray[np.uint64], positions: NDArray[np.int64]) -> None:
        """Add hashes that are not there yet, without repeats."""
        if not len(high):
            return
        run = _sorted_run(high, low, positions)
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            last = self._runs.pop()
            run = _sorted_run(*(np.concatenate(pair) for pair in zip(last, run, strict=True)))
        self._runs.append(run)


def _sorted_run(
    high: NDArray[np.uint64], low: NDArray[np.uint64], positions: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    order = np.argsort(high, kind="stable")
    return high[order], low[order], positions[order]


def first_occurrences(
    index: HashIndex, high: NDArray[np.uint64], low: NDArray[np.uint64], start: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number hashes by first occurrence, `start` on.

    Returns the number of each hash, and the places of those that are new, in order; they are added to the index.
    """
    numbers = index.find(high, low)
    unknown = np.flatnonzero(numbers < 0)
    _, first, inverse = np.unique(high[unknown], return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    numbers[unknown] = start + rank[inverse]
    new = unknown[first[order]]
    index.add(high[new], low[new], numbers[new])
    return numbers, new


class RowKeys:
    """Checks that a partition's row keys are there, unique and not null."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._index = HashIndex()
        self._rows = 0
        self._nulls = 0
        self._duplicates = 0
        self._null_rows: list[int] = []
        self._duplicate_keys: list[tuple[str, int, int]] = []

    def add(self, keys: pa.Array) -> None:
        """Keys of the next rows, as strings."""
        rows = np.arange(self._rows, self._rows + len(keys), dtype=np.int64)
        self._rows += len(keys)
        if keys.null_count:
            missing = np.flatnonzero(keys.is_null().to_numpy(zero_copy_only=False))
            self._nulls += len(missing)
            self._null_rows += rows[missing[: _OFFENDERS - len(self._null_rows)]].tolist()
            kept = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
            keys, rows = keys.take(pa.array(kept)), rows[kept]
        values = keys.to_numpy(zero_copy_only=False)
        high, low = hash_strings(values)
        before = self._index.find(high, low)
        _, first, inverse = np.unique(high, return_index=True, return_inverse=True)
        before = np.where((before < 0) & (first[inverse] != np.arange(len(high))), rows[first[inverse]], before)
        repeated = np.flatnonzero(before >= 0)
        self._duplicates += len(repeated)
        for at in repeated[: max(0, _OFFENDERS - len(self._duplicate_keys))]:
            self._duplicate_keys.append((str(values[at]), int(before[at]), int(rows[at])))
        new = np.flatnonzero(before < 0)
        self._index.add(high[new], low[new], rows[new])

    def check(self) -> None:
        """Raise InputError naming the first offenders and how many there are."""
        problems = []
        if self._nulls:
            problems.append(f"{self._nulls:,} rows have no key (row {_listed(self._null_rows, self._nulls)})")
        if self._duplicates:
            named = [f"{key!r} in rows {first} and {second}" for key, first, second in self._duplicate_keys]
            problems.append(f"{self._duplicates:,} rows repeat another row's key ({_listed(named, self._duplicates)})")
        if problems:
            raise InputError(
                f"the row key {self.column!r} must be unique and not null: {'; '.join(problems)}; rows are counted "
                "from 0. Nothing was sent. Mend the rows, or set `row_key` to a column that identifies them"
            )


def _listed(offenders: Sequence[object], total: int) -> str:
    more = f" and {total - len(offenders):,} more" if total > len(offenders) else ""
    return ", ".join(map(str, offenders)) + more


def hash_strings(values: NDArray[np.object_]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """128 bits of hash of each string, as two arrays of 64."""
    high = pd.util.hash_array(values, hash_key="batch_assets/hi1", categorize=False)
    low = pd.util.hash_array(values, hash_key="batch_assets/lo1", categorize=False)
    return high, low


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    """What became of one batch of rows."""

    requests: NDArray[np.int64]
    """For each row the index of its request in the plan; -1 where it has none."""
    errors: dict[int, str]
    """Why a row has no request, by its place in the batch."""
    contents: pa.LargeBinaryArray
    """Of the requests seen here for the first time, in the order of their index."""
    fingerprints: NDArray[np.uint8]
    """Of the same: shape (len(contents), 32)."""
    first: int
    """Index of the first of them."""
    media: dict[int, MediaWeight] = field(default_factory=dict)
    """How much is not text, by the place of the content, where it holds images or PDFs."""


class Planner:
    """Renders, fingerprints and folds the rows of one partition."""

    def __init__(
        self,
        *,
        prompt: Prompt,
        fingerprinter: Fingerprinter,
        row_key: str,
        max_content_bytes: int,
        form: PartsForm | None = None,
    ) -> None:
        self._prompt = prompt
        self._form = form
        self._fingerprinter = fingerprinter
        self._max_content_bytes = max_content_bytes
        self._index = HashIndex()
        self._keys = RowKeys(row_key)
        self._row_key = row_key
        self._hashes = [hashlib.sha256() for _ in range(4)]
        self.rows = 0
        self.requests = 0
        self.unrenderable = 0

    def add(self, batch: pa.RecordBatch) -> PlannedBatch:
        """Plan the next rows. The batch has the row key and every column of the prompt."""
        self._add_keys(batch.column(self._row_key))
        rendered = self._prompt.render(batch, self._form)
        errors, contents = dict(rendered.errors), rendered.contents
        sizes = pc.binary_length(contents).fill_null(0).to_numpy()
        if len(sizes) and sizes.max() > self._max_content_bytes:
            fitting = sizes <= self._max_content_bytes
            for place in np.flatnonzero(~fitting).tolist():
                errors[place] = (
                    f"the prompt has {sizes[place]:,} bytes, and the provider takes {self._max_content_bytes:,} at most"
                )
            contents = pc.if_else(pa.array(fitting), contents, pa.scalar(None, contents.type))
        kept = contents.drop_null() if contents.null_count else contents
        fingerprints = self._fingerprinter.of(_views(kept))
        numbers, new = first_occurrences(self._index, *halves(fingerprints), self.requests)
        requests = np.full(batch.num_rows, -1, dtype=np.int64)
        rendered_rows = contents.is_valid().to_numpy(zero_copy_only=False)
        requests[rendered_rows] = numbers
        self._hashes[2].update(np.ascontiguousarray(fingerprints).data)
        self._hashes[3].update(rendered_rows.data)
        media = {}
        if rendered.media:
            rows = np.flatnonzero(rendered_rows)[new].tolist()
            media = {at: rendered.media[row] for at, row in enumerate(rows) if row in rendered.media}
        planned = PlannedBatch(
            requests=requests,
            errors=errors,
            contents=kept if len(new) == len(kept) else kept.take(pa.array(new)),
            fingerprints=fingerprints[new],
            first=self.requests,
            media=media,
        )
        self.rows += batch.num_rows
        self.requests += len(new)
        self.unrenderable += len(errors)
        return planned

    def finish(self) -> str:
        """The plan_id: hash of the ordered row keys and fingerprints. Raises InputError for bad row keys."""
        self._keys.check()
        total = hashlib.sha256(f"{self.rows}:".encode())
        for one in self._hashes:
            total.update(one.digest())
        return total.hexdigest()

    def _add_keys(self, column: pa.Array) -> None:
        keys = key_strings(column, self._row_key)
        self._keys.add(keys)
        self._hashes[0].update(pc.binary_length(keys).fill_null(-1).to_numpy(zero_copy_only=False).data)
        offsets, octets = _packed(keys.drop_null().cast(pa.large_binary()))
        self._hashes[1].update(octets[offsets[0] : offsets[-1]])


def _views(values: pa.LargeBinaryArray) -> Iterator[memoryview]:
    """Each value (none is null) as it lies in memory."""
    offsets, octets = _packed(values)
    return (octets[start:stop] for start, stop in pairwise(offsets.tolist()))


def _packed(values: pa.LargeBinaryArray) -> tuple[NDArray[np.int64], memoryview]:
    """Where the values (none is null) begin and end, and the bytes that hold them."""
    if not len(values):
        return np.zeros(1, dtype=np.int64), memoryview(b"")
    _, places, data = values.buffers()
    offsets = np.frombuffer(places, dtype=np.int64)[values.offset : values.offset + len(values) + 1]
    return offsets, memoryview(data if data is not None else b"")


def key_strings(column: pa.Array, name: str) -> pa.Array:
    """Row keys as strings. Raises InputError for a type that has no single text."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise InputError(
            f"the row key {name!r} is of type {column.type}, which cannot be a key: set `row_key` to a column of "
            "strings, integers or dates"
        ) from None


class ShardCutter:
    """Cuts requests into shards under a provider's limits, in their order."""

    def __init__(self, max_requests: int, max_bytes: int, overhead_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._overhead = overhead_bytes
        self._requests = 0
        self._bytes = 0

    def cut(self, content_bytes: NDArray[np.int64]) -> Iterator[tuple[int, int, bool]]:
        """Slices (start, stop, fresh) of the next requests; fresh: the slice begins a new shard."""
        sizes = content_bytes + self._overhead
        start, total = 0, len(sizes)
        cumulated = np.concatenate([[0], np.cumsum(sizes)])
        while start < total:
            room = min(self._max_requests - self._requests, total - start)
            limit = cumulated[start] + self._max_bytes - self._bytes
            stop = min(start + room, int(np.searchsorted(cumulated, limit, side="right")) - 1)
            fresh = self._requests == 0
            if stop <= start:
                if fresh:
                    raise InputError(f"a request of {sizes[start]:,} bytes is above the limit of a whole batch")
                self._requests, self._bytes = 0, 0
                continue
            yield start, stop, fresh
            self._requests += stop - start
            self._bytes += int(cumulated[stop] - cumulated[start])
            start = stop


def in_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of some megabytes; of short rows, whole blocks of those that are hashed together."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        fitting = _batch_rows(batch)
        start = 0
        while True:
            rows = max(fitting, count + 1 if fitting < HASHED_ROWS else -(-(count + 1) // HASHED_ROWS) * HASHED_ROWS)
            if batch.num_rows - start + count < rows:
                break
            held.append(batch.slice(start, rows - count))
            start += rows - count
            yield pa.concat_batches(held) if len(held) > 1 else held[0]
            held, count = [], 0
        if start < batch.num_rows:
            held.append(batch.slice(start))
            count += batch.num_rows - start
    if held:
        yield pa.concat_batches(held) if len(held) > 1 else held[0]


def _batch_rows(batch: pa.RecordBatch) -> int:
    """Rows of a batch of at most BATCH_BYTES, going by the rows of this one."""
    fitting: int = BATCH_BYTES * batch.num_rows // max(1, int(batch.nbytes))
    return min(BATCH_ROWS, fitting // HASHED_ROWS * HASHED_ROWS or max(1, fitting))
