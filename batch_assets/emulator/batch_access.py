"""What every wire's calls on batches do alike: find one, let what is due happen first, hide what a fault hides."""

import asyncio
import time
from collections.abc import Sequence

from batch_assets.emulator.batches import Batch
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Fault, Stage

_CATCH_UP_SECONDS = 2.0


class BatchAccess:
    """The batches of one provider in one emulation."""

    def __init__(self, emulation: Emulation, provider: str) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider

    def decide_fate(self, asked: list[Fault], batch: Batch) -> None:
        """Let the faults of stage BATCH strike a batch that is being created."""
        take = self._emulation.faults.take
        if fault := take(self._provider, Stage.BATCH, "batch", asked):
            batch.fate, batch.fate_params = fault.fault, fault.params
        if lag := take(self._provider, Stage.BATCH, "batches.list", asked):
            batch.hidden_until = batch.created_at + float(lag.params["seconds"])
            batch.hidden_lists = int(lag.params["lists"])

    def find(self, account: str, batch_id: str) -> Batch | None:
        """The account's batch as it is."""
        batch = self._store.batch(batch_id)
        if batch is None or batch.provider != self._provider or batch.account != account or batch.fate == "vanished":
            return None
        return batch

    async def current(self, account: str, batch_id: str) -> Batch | None:
        """The account's batch, after what is due by now has happened."""
        batch = self.find(account, batch_id)
        if batch is not None and await self.catch_up([batch]):
            batch = self.find(account, batch_id)
        return batch

    async def catch_up(self, batches: Sequence[Batch]) -> bool:
        """Wait until what is due for the small ones of `batches` has happened; False when nothing was."""
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        waited = False
        while (due := self._emulation.due(batches)) and time.monotonic() < deadline:
            if not waited:
                self._emulation.worker.nudge()
            waited = True
            await asyncio.sleep(0.004)
            batches = [fresh for batch in due if (fresh := self._store.batch(batch.id)) is not None]
        return waited

    async def listing(self, account: str, *, after: str | None, limit: int) -> list[Batch]:
        """Up to `limit` batches that a listing shows, newest first; with `after`, those created before that batch."""
        await self.catch_up(self._store.open_batches())
        batches: list[Batch] = []
        for batch in self._store.batches(self._provider, account, before=after):
            if len(batches) >= limit:
                break
            if self._listed(batch):
                batches.append(batch)
        return batches

    def _listed(self, batch: Batch) -> bool:
        """Whether a listing shows the batch yet; counts the listings that did not."""
        if batch.fate == "vanished" or batch.hidden_until > self._emulation.clock.now():
            return False
        if batch.hidden_lists:
            with self._store.changing(batch.id) as fresh:
                if fresh is not None:
                    fresh.hidden_lists -= 1
            return False
        return True

    def claimed_status(self, operation: str, asked: list[Fault]) -> str | None:
        """The status that a fault puts in place of the real one in what `operation` says about a batch."""
        fault = self._emulation.faults.take(self._provider, Stage.VIEW, operation, asked)
        return None if fault is None else str(fault.params["status"])
