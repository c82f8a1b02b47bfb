"""Which line of a download answers which request of a shard. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from batch_assets.fingerprint import decode, halves

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

    def add(self, ids: list[str | None], line_lengths: list[int], start: int) -> int:
        """Check off the next lines, which begin at the offset `start`; returns the offset behind them.

        Only the first line of a request counts, and only if its custom_id is exactly ours.
        """
        lengths = np.array(line_lengths, dtype=np.int64)
        ends = start + np.cumsum(lengths + 1)  # a line feed behind each
        offsets = ends - lengths - 1
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
        return int(ends[-1])
