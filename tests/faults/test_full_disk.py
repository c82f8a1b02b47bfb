"""A night whose disk is full at every step: named errors, the table of before, and the bill of a calm night after."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nights_with_faults import PARTITION, QUICK, REQUESTS, Night, rows
from subjects import SUBJECTS

from batch_assets.emulator import Emulator
from batch_assets.engine import advance_account, collect, plan_partition, plan_status, submit_waiting
from batch_assets.errors import StoreError
from batch_assets.records import PlanRecord
from batch_assets.tables import TableStore

FULL = "No space left|File too large"


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """The system refuses every write of this process beyond that size, to the store as to the scratch folder."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def other_rows() -> pa.Table:
    texts = [f"I lost card {text}" for text in rows()["text"].to_pylist()]
    return rows().set_column(1, "text", pa.array(texts))


def plan(night: Night) -> PlanRecord:
    return plan_partition(night.ledger, night.provider, night.spec(), PARTITION, other_rows().to_batches())


@pytest.mark.parametrize("size_bytes", [0, 300, 2_500], ids=["nothing fits", "markers fit", "records fit"])
def test_a_night_on_a_full_disk(tmp_path: Path, size_bytes: int) -> None:
    with Emulator(latency_seconds=0) as emulator:
        night = Night(SUBJECTS[0], emulator, tmp_path, timing=replace(QUICK, lease_seconds=2))
        before = night.run()
        tables = TableStore(tmp_path / "tables")
        path = tables.path("queries", PARTITION)

        with no_file_above(size_bytes), pytest.raises(StoreError, match=FULL):
            plan(night)
        planned = plan(night)
        for _ in range(4):  # sent, asked for, fetched as far as it goes
            with no_file_above(size_bytes), pytest.raises(StoreError, match=FULL):
                submit_waiting(night.ledger, night.provider)
                advance_account(night.ledger, night.provider)
            night.store.pass_time(seconds=5)  # what could not be released runs out
        assert not plan_status(night.ledger, planned.ref).settled
        night.settle(planned.ref)
        with no_file_above(size_bytes), pytest.raises(StoreError, match=FULL):
            collect(night.ledger, tables, planned.ref)
        assert pq.read_table(path, partitioning=None) == before

        landing = collect(night.ledger, tables, planned.ref)
        assert landing.outcomes == {"succeeded": len(before)}
        assert emulator.bill()["openai"]["requests"] == 2 * REQUESTS
        assert emulator.bill()["openai"]["surplus"] == 0
        assert list(Path(tables.root, ".tmp").glob("*.parquet")) == []
        assert list((tmp_path / "store" / ".tmp").iterdir()) == []
