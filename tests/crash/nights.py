"""A small night with everything in it: three shards, duplicates, a retry round; run by processes that may die."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from points import PointProvider, Points, PointStore, PointTables
from pydantic import BaseModel
from vendors import VENDORS, Account, Running

from batch_assets.engine import AssetSpec, collect, plan_partition, submit_waiting, wait_for
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

    from batch_assets.emulator.client import Controls
    from batch_assets.storage.protocol import ObjectStore

ROWS = 30
SHARD_REQUESTS = 10
PARTITION = "2026-11-01"
CURED = "card 7"
"""Requests with this text are answered with a 500 at first."""

QUICK = Timing(
    lease_seconds=0.6,
    create_seconds=0.5,
    intent_seconds=0.7,
    queue_wait_seconds=0.1,
    blocked_seconds=0.1,
    longest_wait_seconds=0.2,
    unopened_seconds=0.05,
    owed_seconds=0.5,
    hold_seconds=0.5,
)
"""So that what a dead process leaves behind is over in a second."""

CHANGE = "the rows change"
VARYING = {"batch_id", "batch_custom_id"}
"""Columns that name the batch: another one where a shard was cut or sent again."""
BUYER = {"batch_cached", "batch_cost_usd", "batch_attempts"}
"""Columns that tell which of two generations has bought a result: that depends on when a process dies."""


class Intent(BaseModel):
    intent: Literal["card_arrival", "lost_card", "exchange_rate"]
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One night's own store, tables, account and requests, at an emulator that it shares."""

    folder: Path
    url: str
    """Of the emulator."""
    tag: str
    vendor: str = "openai"
    """One of VENDORS."""
    bucket: bool = False
    """The store is in the emulator's bucket."""
    timing: Timing = QUICK
    grace_seconds: float = 0.1
    store_ahead_seconds: float = 0.0

    @property
    def table(self) -> pa.Table:
        return pq.read_table(TableStore(self.folder / "tables").path("queries", PARTITION), partitioning=None)

    @property
    def shard_ids(self) -> set[str]:
        """Of every shard that was ever opened, orphans included."""
        paths = [entry.path.split("/") for entry in self._store().list("default/accounts")]
        return {path[4] for path in paths if path[3] == "shards"}

    def _store(self) -> ObjectStore:
        if not self.bucket:
            return LocalStore(self.folder / "store")
        options = ClientOptions(api_endpoint=Running(self.url).gcs_base_url)
        client = storage.Client(project="project", credentials=AnonymousCredentials(), client_options=options)
        return GCSStore("bucket", f"stores/{self.tag}", client)

    def ledger(self, points: Points | None = None) -> Ledger:
        ahead = timedelta(seconds=self.store_ahead_seconds)
        store = PointStore(self._store(), points or Points(), ahead)
        return Ledger.open(store, timing=self.timing)

    def provider(self, points: Points | None = None) -> PointProvider:
        account = Account(
            tag=self.tag, folder=self.folder, emulator=Running(self.url), grace_seconds=self.grace_seconds
        )
        real = VENDORS[self.vendor].connect(account)
        return PointProvider(real, points or Points(), replace(real.limits, max_requests=SHARD_REQUESTS))

    def spec(self, **settings: object) -> AssetSpec:
        schema = OutputSchema.of(Intent)
        request = Request(
            model=VENDORS[self.vendor].model,
            params=VENDORS[self.vendor].own(self.tag),
            json_schema=schema.json_schema,
            schema_name=schema.name,
            max_output_tokens=200,
        )
        return AssetSpec(
            asset="queries",
            provider="openai",
            request=request,
            prompt=Prompt("Classify.\n\n{{ text }}"),
            schema=schema,
            row_key="id",
            **settings,  # type: ignore[arg-type]  # the fields of AssetSpec
        )


def rows(changed: int = 0) -> pa.Table:
    """30 rows with 28 different texts; the first `changed` are not what they were."""
    texts = [f"Where is my card {number % 28}?" for number in range(ROWS)]
    texts[:changed] = [f"I lost my card {number + 100}." for number in range(changed)]
    return pa.table({"id": pa.array(range(ROWS)), "text": texts})


def arm(emulator: Controls) -> None:
    """Some requests fail at first: there is a retry round."""
    emulator.arm("request_error", contains=CURED, each=True, times=1)


def one_night(place: Place, points: Points) -> None:
    """Plan, submit, wait, land."""
    ledger, provider = place.ledger(points), place.provider(points)
    plan = plan_partition(ledger, provider, place.spec(), PARTITION, rows().to_batches())
    submit_waiting(ledger, provider)
    finish(place, points, ledger, provider, plan.ref)


def evening(place: Place, points: Points) -> None:
    """Plan and submit: what a run does before it parks."""
    ledger, provider = place.ledger(points), place.provider(points)
    plan_partition(ledger, provider, place.spec(), PARTITION, rows().to_batches())
    submit_waiting(ledger, provider)


def changed_night(place: Place, points: Points) -> None:
    """Rows change while the first plan is open: the second takes over what the first has sent."""
    ledger, provider = place.ledger(points), place.provider(points)
    begun = place.folder / "changed"
    if not begun.exists():
        plan_partition(ledger, provider, place.spec(), PARTITION, rows().to_batches())
        submit_waiting(ledger, provider)
        begun.touch()  # the source changes for good: whoever starts again sees the new rows
        points.pass_by(CHANGE, "after")
    plan = plan_partition(ledger, provider, place.spec(), PARTITION, rows(changed=3).to_batches())
    submit_waiting(ledger, provider)
    finish(place, points, ledger, provider, plan.ref)


def finish(place: Place, points: Points, ledger: Ledger, provider: PointProvider, ref: object) -> None:
    (status,) = wait_for(ledger, provider, [ref], interval_seconds=0.2, timeout_seconds=60)  # type: ignore[list-item]
    assert status.settled, status
    collect(ledger, PointTables(TableStore(place.folder / "tables"), points), ref)  # type: ignore[arg-type]


def begin(work: Callable[[], None]) -> int:
    """Do some work in a forked process; returns its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001  # told by the exit status
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def end(child: int) -> int:
    """Wait for a process: 0, 1 if it raised, 9 if it was killed."""
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def run(work: Callable[[], None]) -> int:
    """Do some work in a forked process, and wait for it."""
    return end(begin(work))


def bills(emulator: Controls) -> dict[str, dict[str, int]]:
    """Times billed, by shard and by the second part of the custom_id, which is the request's fingerprint."""
    found: dict[str, dict[str, int]] = {}
    for vendor in emulator.bill(detail=True).values():
        for custom_id, times in vendor["per_custom_id"].items():
            shard_id, _, fingerprint = custom_id.partition("-")
            found.setdefault(shard_id, {})[fingerprint] = times
    return found


def billed(place: Place, all_bills: dict[str, dict[str, int]]) -> dict[str, int]:
    """Times billed by fingerprint, for the shards of one store."""
    found: dict[str, int] = {}
    for shard_id in place.shard_ids:
        for fingerprint, times in all_bills.get(shard_id, {}).items():
            found[fingerprint] = found.get(fingerprint, 0) + times
    return found


def comparable(table: pa.Table, *, without: set[str] = VARYING) -> list[dict[str, object]]:
    """The rows of a table without the columns that may differ."""
    return table.drop_columns(sorted(without)).to_pylist()


def fell_asleep(child: int) -> bool:
    """Wait until a process stops itself, or ends; whether it has stopped."""
    _, status = os.waitpid(child, os.WUNTRACED)
    return os.WIFSTOPPED(status)


def wake(child: int) -> int:
    """Let a stopped process go on, and wait for its end."""
    os.kill(child, signal.SIGCONT)
    return end(child)
