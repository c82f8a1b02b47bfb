"""What earlier generations of a partition know: final results to copy, and requests that are still under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_assets.engine.status import shards_of
from batch_assets.fingerprint import halves
from batch_assets.lifecycle import TERMINAL, State
from batch_assets.planner import HashIndex
from batch_assets.records import Outcome, PlanRecord, PlanRef
from batch_assets.schema import OutputSchema
from batch_assets.tables import fingerprint_rows, stored_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from batch_assets.ledger import Ledger
    from batch_assets.records import Shard

REUSED_FILE = "reused.parquet"
_FILE_SHIFT = 40
"""A location is the number of a file, shifted by this, plus the row in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """Stored results of a plan."""

    path: str
    reused: bool
    """Copied from an earlier generation, which has paid for them."""


def result_files(ledger: Ledger, plan: PlanRecord) -> list[ResultFile]:
    """The stored results of a plan in the order of their rounds; those it was given first."""
    return _result_files(plan, list(shards_of(ledger, plan)))


def _result_files(plan: PlanRecord, shards: Sequence[Shard | None]) -> list[ResultFile]:
    files = [ResultFile(path=f"{plan.draft}/{REUSED_FILE}", reused=True)] if plan.reused else []
    return files + [
        ResultFile(path=shard.last.results, reused=shard.state is State.SPLIT)
        for shard in shards
        if shard and shard.last.results
    ]


class Reuse:
    """An index of the final results of earlier generations, by fingerprint."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self._final = HashIndex()
        self._pending = HashIndex()

    @classmethod
    def of(cls, ledger: Ledger, ref: PlanRef, fields: pa.Schema, *, results: bool = True, oldest: int = 1) -> Reuse:
        """Index the generations below that of `ref`, the newest first, down to `oldest`.

        Only results with exactly the columns `fields` count: two output types may share a JSON schema, and so the
        fingerprint. Without `results` only what is under way is indexed.
        """
        reuse = cls()
        for generation in reversed(ledger.generations(ref.asset, ref.partition)):
            if oldest <= generation < ref.generation:
                earlier = PlanRef(asset=ref.asset, partition=ref.partition, generation=generation)
                plan = ledger.plan(earlier)
                same = OutputSchema.from_json(plan.output_schema).fields.equals(fields)
                reuse._add(ledger, plan, results=results and same)
        return reuse

    def _add(self, ledger: Ledger, plan: PlanRecord, *, results: bool) -> None:
        shards = list(shards_of(ledger, plan))  # read once: what has no results in this reading is under way in it
        for file in _result_files(plan, shards) if results else ():
            self.files.append(file.path)
            self._index_results(ledger, file.path)
        for shard in shards:
            if shard is None or shard.state not in TERMINAL:
                for spec in [shard.spec] if shard else plan.shards:
                    with stored_batches(ledger.store, spec.path, ["fingerprint"]) as batches:
                        for batch in batches:
                            nowhere = np.zeros(batch.num_rows, dtype=np.int64)
                            _add_new(self._pending, fingerprint_rows(batch.column(0)), nowhere)

    def _index_results(self, ledger: Ledger, path: str) -> None:
        base = (len(self.files) - 1) << _FILE_SHIFT
        with stored_batches(ledger.store, path, ["fingerprint", "outcome", "curable"]) as batches:
            start = 0
            for batch in batches:
                final = is_final(batch)
                _add_new(self._final, fingerprint_rows(batch.column(0))[final], base + start + final)
                start += batch.num_rows

    def find(self, fingerprints: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For each fingerprint the location of its final result (-1: none), and whether it is still under way."""
        high, low = halves(fingerprints)
        location = self._final.find(high, low)
        return location, (location < 0) & (self._pending.find(high, low) >= 0)

    def copy(
        self, ledger: Ledger, locations: NDArray[np.int64], requests: NDArray[np.int64]
    ) -> Iterator[pa.RecordBatch]:
        """The results at `locations`, with the indexes that their requests have in the new plan."""
        for number in np.unique(locations >> _FILE_SHIFT):
            mine = np.flatnonzero(locations >> _FILE_SHIFT == number)
            mine = mine[np.argsort(locations[mine], kind="stable")]
            rows, numbers = locations[mine] & ((1 << _FILE_SHIFT) - 1), requests[mine]
            start = 0
            with stored_batches(ledger.store, self.files[int(number)]) as batches:
                for batch in batches:
                    low, high = np.searchsorted(rows, [start, start + batch.num_rows])
                    if high > low:
                        taken = batch.take(pa.array(rows[low:high] - start))
                        yield taken.set_column(0, "request", pa.array(numbers[low:high]))
                    start += batch.num_rows


def is_final(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Places of the results that no further attempt changes: a success, or a failure that cannot be cured."""
    outcome = batch.column("outcome").to_numpy(zero_copy_only=False)
    curable = batch.column("curable").to_numpy(zero_copy_only=False).astype(bool)
    answered = (outcome == str(Outcome.ERRORED)) | (outcome == str(Outcome.INVALID))
    return np.flatnonzero((outcome == str(Outcome.SUCCEEDED)) | (answered & ~curable))


def _add_new(index: HashIndex, fingerprints: NDArray[np.uint8], positions: NDArray[np.int64]) -> None:
    """Add the fingerprints that the index does not have."""
    high, low = halves(fingerprints)
    _, first = np.unique(high, return_index=True)
    new = first[index.find(high[first], low[first]) < 0]
    index.add(high[new], low[new], positions[new])
