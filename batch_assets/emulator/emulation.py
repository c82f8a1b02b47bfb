"""Everything that the wires share: one emulated world of providers."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batch_assets.emulator import bill
from batch_assets.emulator.batches import Batch, Wait, next_step
from batch_assets.emulator.clock import Clock
from batch_assets.emulator.faults import Faults
from batch_assets.emulator.store import Store
from batch_assets.emulator.wire import Wire
from batch_assets.emulator.worker import Worker

_SMALL_REQUESTS = 5000  # a call waits for a batch with no more than this left to do


class Emulation:
    """The state, the clock, the worker, and what tests may turn.

    `folder` None: a temporary folder, removed by `close`. `latency_seconds`: how long a batch takes from its creation.
    """

    def __init__(self, *, folder: Path | None, latency_seconds: float, seed: int, wires: Sequence[Wire]) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="batch-emulator-")) if folder is None else None
        self.store = Store(folder or self._temporary or Path())
        self.clock = Clock(self.store.setting("clock_offset_seconds", 0.0))
        self.faults = Faults(self.store)
        self.wires = {wire.provider: wire for wire in wires}
        self._default_latency_seconds = latency_seconds
        self.latency_seconds = latency_seconds
        self.seed = seed
        self.stopping = False
        self.worker = Worker(self.store, self.clock, self.faults, self.wires, seed)
        self._limits: dict[str, dict[str, Any]] = self.store.setting("limits", {})

    def start(self) -> None:
        self.worker.start()

    def close(self) -> None:
        self.stopping = True
        self.worker.stop()
        self.store.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    # -- time ----------------------------------------------------------------------------------------------------

    def due(self, batches: Sequence[Batch]) -> list[Batch]:
        """Those of `batches` for which something is due and that are small enough to wait for."""
        now = self.clock.now()
        return [
            batch
            for batch in batches
            if batch.open
            and self._requests_left(batch) <= _SMALL_REQUESTS
            and not isinstance(next_step(batch, now), Wait)
        ]

    def _requests_left(self, batch: Batch) -> int:
        if batch.total:
            return batch.total - batch.executed
        return batch.enqueued_tokens // 25

    def advance(self, seconds: float) -> float:
        """Move the clock and let everything happen that is then due; the new time."""
        self.clock.advance(seconds)
        self.store.set_setting("clock_offset_seconds", self.clock.offset_seconds)
        self.worker.settle(60.0)
        return self.clock.now()

    # -- what tests turn -----------------------------------------------------------------------------------------

    def limits(self, provider: str) -> dict[str, Any]:
        """What was set in place of the provider's own limits."""
        return self._limits.get(provider, {})

    def set_limits(self, provider: str, limits: dict[str, Any]) -> None:
        self._limits[provider] = {**self._limits.get(provider, {}), **limits}
        self.store.set_setting("limits", self._limits)

    def bill(self, *, detail: bool = False) -> dict[str, Any]:
        return bill.statement(self.store, detail=detail)

    def reset(self) -> None:
        """As on the first day: no files, batches, bill, faults, limits; the clock is real time again."""
        self.store.wipe()
        self.faults.clear()
        self._limits = {}
        self.clock.offset_seconds = 0.0
        self.latency_seconds = self._default_latency_seconds
