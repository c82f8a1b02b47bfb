"""One deployment of the engine, as the tests drive it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from engine_nights import intent_spec

from batch_assets.emulator import Emulator
from batch_assets.engine import (
    AssetSpec,
    collect,
    plan_partition,
    poll_account,
    submit_waiting,
    wait_for,
)
from batch_assets.ledger import Ledger
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import Landing, PlanRecord, PlanRef, PlanStatus
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore

KEY = "sk-test-SECRET-0123456789"


@dataclass
class Engine:
    """One deployment: a store, tables, an account; `log` is what it said."""

    folder: Path
    emulator: Emulator
    provider: OpenAIProvider
    ledger: Ledger
    tables: TableStore
    log: list[str] = field(default_factory=list)

    def plan(
        self, rows: pa.Table, spec: AssetSpec | None = None, partition: str | None = "d1", **more: Any
    ) -> PlanRecord:
        batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
        return plan_partition(self.ledger, self.provider, spec or intent_spec(), partition, batches, **more)

    def submit(self) -> int:
        return submit_waiting(self.ledger, self.provider, log=self.log.append)

    def wait(self, *refs: PlanRef, timeout_seconds: float = 20) -> list[PlanStatus]:
        return wait_for(
            self.ledger,
            self.provider,
            refs,
            interval_seconds=0.05,
            timeout_seconds=timeout_seconds,
            log=self.log.append,
        )

    def settle(self, plan: PlanRecord) -> PlanStatus:
        (status,) = self.wait(plan.ref)
        assert status.settled, (status, self.log)
        return status

    def night(
        self, rows: pa.Table, spec: AssetSpec | None = None, partition: str | None = "d1", **more: Any
    ) -> Landing:
        plan = self.plan(rows, spec, partition, **more)
        assert plan.refused is None
        self.submit()
        self.settle(plan)
        return self.land(plan.ref)

    def land(self, ref: PlanRef) -> Landing:
        return collect(self.ledger, self.tables, ref)

    def table(self, landing: Landing) -> pa.Table:
        return pq.read_table(landing.path, partitioning=None)

    @property
    def bought(self) -> int:
        """Requests that the provider bills."""
        return int(self.bill["requests"])

    @property
    def bill(self) -> dict[str, Any]:
        none = {"requests": 0, "distinct": 0, "duplicates": 0, "surplus": 0, "errors": 0}
        return dict(self.emulator.bill().get("openai", none))

    def batches(self) -> list[Any]:
        """All batches at the provider, newest first."""
        return list(self.provider.batches())

    def summary(self) -> str:
        """What a tick logs."""
        return poll_account(self.ledger, self.provider).summary

    def age(self, seconds: float) -> None:
        """Let time pass by the store's clock: everything in it gets that much older."""
        for path in sorted((self.folder / "store").rglob("*.json")):
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))

    def reopened(self) -> Engine:
        """The same deployment as another process sees it."""
        return with_changes(self, ledger=Ledger.open(LocalStore(self.folder / "store")), log=[])
