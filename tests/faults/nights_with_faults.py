"""One night against the emulator with one fault in it, counted: rows, rows right, requests billed, what was told."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from ageing import AgeingStore
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from pydantic import BaseModel

from batch_assets.emulator import Emulator, SpawnedEmulator
from batch_assets.engine import AssetSpec, advance_account, collect, plan_partition, poll_account, submit_waiting
from batch_assets.engine.status import plan_status
from batch_assets.errors import BatchAssetsError
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.records import Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.gcs import GCSStore
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore
from batch_assets.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable

    from subjects import Subject

    from batch_assets.emulator.client import Controls
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef

ROWS = 30
REQUESTS = 27
SHARDS = 3
"""Of 9 requests and 10 rows each."""
PARTITION = "2026-11-01"
LONGEST_SECONDS = 25.0
QUICK = Timing(
    lease_seconds=20,
    create_seconds=0.6,
    intent_seconds=0.9,
    queue_wait_seconds=0.1,
    blocked_seconds=0.1,
    longest_wait_seconds=0.3,
    owed_seconds=0.4,
    overdue_seconds=3600,
    hold_seconds=0.5,
)


class Intent(BaseModel):
    intent: Literal["card_arrival", "lost_card", "exchange_rate"]
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One line of the matrix. What differs from a night without the fault is said, with the reason."""

    name: str
    arm: Callable[[Controls], object] = lambda _: None
    during: Callable[[Night], None] | None = None
    """Done once everything is sent."""
    right: int = ROWS
    """Rows that are as without the fault."""
    billed: int = REQUESTS
    """Requests that are billed."""
    why: str = ""
    """Why these are not those of a night without the fault."""
    nights: int = 1
    """2: the asset is materialized again, as a person does who saw what the first night said."""
    told: str | None = None
    """What a person must have been told (a pattern): in the tick's summary, the plan's reasons, or a row's error."""
    needs_files: bool = False
    """Only for providers that take input files."""
    needs_result_files: bool = False
    """Only for providers whose results are files."""
    spawned: bool = False
    """The emulator runs in a process of its own, which can be killed."""
    on_ambiguous: Literal["hold", "resubmit", "fail"] = "hold"
    only: frozenset[str] = frozenset()
    """The providers that know the fault; empty for all."""
    of: Literal["batches", "bucket", "realtime"] = "batches"
    """Whose fault it is: a batch API's, that of a store in a bucket, or that of a host without batches."""
    again: int = 0
    """Requests that may be billed once more than without the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What came out."""

    fault: Fault
    provider: str
    rows_in: int
    rows_out: int
    rows_right: int
    billed: int
    billed_twice: int
    billed_without: int
    told: bool
    struck: bool
    """Every fault that was armed came up."""
    seconds: float
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs from what is said to be due."""
        due = (ROWS, ROWS, self.fault.right, self.fault.billed)
        is_so = (self.rows_in, self.rows_out, self.rows_right, self.billed - self.billed_twice)
        return not self.error and self.told and self.struck and due == is_so and self.billed_twice <= self.fault.again


@dataclass(slots=True)
class Night:
    """One deployment at one emulator."""

    subject: Subject
    emulator: Controls
    folder: Path
    on_ambiguous: Literal["hold", "resubmit", "fail"] = "hold"
    said: list[str] = field(default_factory=list)
    """All that was said to a person."""
    provider: Provider = field(init=False)
    store: AgeingStore = field(init=False)
    timing: Timing = QUICK

    def __post_init__(self) -> None:
        self.store = AgeingStore(
            self._bucket() if self.subject.faults == "bucket" else LocalStore(self.folder / "store")
        )
        self.provider = self.subject.connect(self.emulator, self.folder)
        self.provider.limits = replace(self.provider.limits, max_requests=REQUESTS // SHARDS)

    def _bucket(self) -> GCSStore:
        options = ClientOptions(api_endpoint=self.emulator.gcs_base_url)
        client = storage.Client(project="project", credentials=AnonymousCredentials(), client_options=options)
        return GCSStore("bucket", "store", client)

    @property
    def ledger(self) -> Ledger:
        """Opened anew, as every process does."""
        return Ledger.open(self.store, timing=self.timing)

    def run(self, during: Callable[[Night], None] | None = None) -> pa.Table:
        """Plan, submit, advance until it is settled, land."""
        plan = plan_partition(self.ledger, self.provider, self.spec(), PARTITION, rows().to_batches())
        self._trying(lambda: submit_waiting(self.ledger, self.provider, log=self.said.append))
        if during is not None:
            during(self)
        self.settle(plan.ref)
        landing = collect(self.ledger, TableStore(self.folder / "tables"), plan.ref)
        table = pq.read_table(landing.path, partitioning=None)
        self.said += [error for error in table["batch_error"].to_pylist() if error]
        return table

    def settle(self, ref: PlanRef) -> None:
        """Tick until the plan is settled. Raises TimeoutError with what was said last."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not self.tick(ref):
            if time.monotonic() > deadline:
                raise TimeoutError("; ".join(self.said[-6:]))
            time.sleep(0.03)

    def tick(self, ref: PlanRef | None = None) -> bool:
        """What the sensor and a run of batch_advance do; whether the plan is settled."""
        self._trying(self._poll)
        if ref is None:
            return False
        status = plan_status(self.ledger, ref)
        self.said += status.reasons
        return status.settled

    def _poll(self) -> None:
        poll = poll_account(self.ledger, self.provider)
        self.said.append(poll.summary)
        if poll.needs_advance:
            advance_account(self.ledger, self.provider, log=self.said.append)

    def _trying(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BatchAssetsError as error:
            self.said.append(str(error))

    def spec(self) -> AssetSpec:
        schema = OutputSchema.of(Intent)
        request = Request(
            model=self.subject.model,
            json_schema=schema.json_schema,
            schema_name=schema.name,
            max_output_tokens=200,
        )
        return AssetSpec(
            asset="queries",
            provider=self.subject.name,
            request=request,
            prompt=Prompt("Classify.\n\n{{ text }}"),
            schema=schema,
            row_key="id",
            on_ambiguous=self.on_ambiguous,
        )


def rows() -> pa.Table:
    """Three shards of 10 rows, of which two have the same text."""
    texts = [f"Where is my card {number}?" for number in range(REQUESTS)]
    texts += [texts[0], texts[9], texts[18]]
    return pa.table({"id": pa.array(range(ROWS)), "text": texts})


def measure(subject: Subject, fault: Fault, calm: Line | None = None, expected: list[Any] | None = None) -> Line:
    """Run the night, or the nights, and count. `calm` and `expected` are of the night without a fault."""
    started = time.monotonic()
    kind = SpawnedEmulator if fault.spawned else Emulator
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "emulator") if fault.spawned else None
        with kind(state, latency_seconds=0) as emulator:
            fault.arm(emulator)
            night = Night(subject, emulator, Path(folder), fault.on_ambiguous)
            table, error = pa.table({}), ""
            try:
                table = night.run(fault.during)
                for _ in range(fault.nights - 1):
                    table = night.run()
            except (BatchAssetsError, TimeoutError, AssertionError) as failed:
                error = f"{type(failed).__name__}: {failed}"
            struck = all(armed["fired"] for armed in emulator.faults())
            bill = emulator.bill().get(subject.bill, {"requests": 0, "surplus": 0})
        got = answers(table) if table.num_columns else []
        said = "\n".join(night.said)
    return Line(
        fault=fault,
        provider=subject.name,
        rows_in=rows().num_rows,
        rows_out=len(got),
        rows_right=sum(one == other for one, other in zip(got, expected or got, strict=False)),
        billed=bill["requests"],
        billed_twice=bill["surplus"],
        billed_without=calm.billed if calm else bill["requests"],
        told=fault.told is None or re.search(fault.told, said) is not None,
        struck=struck,
        seconds=time.monotonic() - started,
        error=error,
    )


def answers(table: pa.Table) -> list[Any]:
    """What must be right in a row."""
    return table.select(["id", "text", "intent", "sure", "batch_outcome"]).to_pylist()


def expected_answers(subject: Subject) -> list[Any]:
    """The answers of a night without faults; all of them are there."""
    with tempfile.TemporaryDirectory() as folder, Emulator(latency_seconds=0) as emulator:
        found = answers(Night(subject, emulator, Path(folder)).run())
    assert all(row["batch_outcome"] == "succeeded" for row in found)
    return found
