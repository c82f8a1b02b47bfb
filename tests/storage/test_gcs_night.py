"""Nights through the engine with everything in a bucket: the records, the plans, the results and the table."""

from collections.abc import Callable, Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from pydantic import BaseModel, Field

from batch_assets.emulator import Emulator
from batch_assets.engine import AssetSpec, collect, plan_partition, submit_waiting, wait_for
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import Landing, Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.gcs import GCSStore
from batch_assets.storage.gcs_tables import GCSTableStore

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
ROWS = 300


class Intent(BaseModel):
    intent: Literal["card arrival", "lost card", "exchange rate"]
    urgency: int = Field(ge=1, le=5)


@pytest.fixture
def client(batch_emulator: Emulator) -> Iterator[storage.Client]:
    with storage.Client(project="project", credentials=AnonymousCredentials()) as client:
        yield client


@pytest.fixture
def night(client: storage.Client) -> Callable[[pa.Table], Landing]:
    """Plan, send, wait and land a table, with a new store object for each step, as in processes of their own."""
    provider = OpenAIProvider()
    schema = OutputSchema.of(Intent)
    request = Request(
        model="gpt-5-mini", json_schema=schema.json_schema, schema_name=schema.name, max_output_tokens=200
    )
    prompt = Prompt("Classify.\n\n{{ text }}")
    spec = AssetSpec(asset="queries", provider="openai", request=request, prompt=prompt, schema=schema, row_key="id")

    def run(table: pa.Table) -> Landing:
        def ledger() -> Ledger:
            return Ledger.open(GCSStore.at("gs://bucket/store", client), "prod")

        plan = plan_partition(ledger(), provider, spec, "2026-01-01", table.to_batches())
        assert plan.refused is None
        submit_waiting(ledger(), provider)
        wait_for(ledger(), provider, [plan.ref], interval_seconds=0.05, timeout_seconds=60)
        return collect(ledger(), GCSTableStore("gs://bucket/tables", client), plan.ref)

    return run


def rows(first_text: str = "Where is my card?") -> pa.Table:
    texts = [first_text, *(f"I lost card number {i}, what now?" for i in range(1, ROWS))]
    return pa.table({"id": range(ROWS), "text": texts})


def landed(client: storage.Client, landing: Landing) -> pa.Table:
    store = GCSTableStore("gs://bucket/tables", client)
    assert landing.path == store.path("queries", "2026-01-01")
    return pads.dataset(store.file("queries", "2026-01-01"), filesystem=store.filesystem).to_table()


def test_a_night_in_a_bucket(
    night: Callable[[pa.Table], Landing], client: storage.Client, batch_emulator: Emulator
) -> None:
    landing = night(rows())
    table = landed(client, landing)
    assert table["id"].to_pylist() == list(range(ROWS))
    assert set(table["batch_outcome"].to_pylist()) == {"succeeded"}
    assert batch_emulator.bill()["openai"]["requests"] == ROWS
    changed = night(rows("A new first row."))
    assert (changed.ref.generation, changed.reused) == (2, ROWS - 1)
    assert night(rows("A new first row.")).ref == changed.ref
    bill = batch_emulator.bill()["openai"]
    assert (bill["requests"], bill["surplus"]) == (ROWS + 1, 0)


def test_a_night_on_a_bad_network(
    night: Callable[[pa.Table], Landing], client: storage.Client, batch_emulator: Emulator
) -> None:
    for after in (2, 9, 17, 26):
        batch_emulator.arm("accept_then_drop", operation="files.create", provider="gcs", after=after)
    for operation in ("files.create", "files.content", "files.list", "files.retrieve", "files.delete"):
        batch_emulator.arm("drop", operation=operation, provider="gcs", after=3)
        batch_emulator.arm("refused", operation=operation, provider="gcs", after=5, status=503)
    batch_emulator.arm("cut", provider="gcs", kind="any", after_bytes=500, after=3, times=2)
    table = landed(client, night(rows()))
    assert table["id"].to_pylist() == list(range(ROWS))
    assert set(table["batch_outcome"].to_pylist()) == {"succeeded"}
    bill = batch_emulator.bill()["openai"]
    assert (bill["requests"], bill["surplus"]) == (ROWS, 0)
    assert sum(fault["fired"] for fault in batch_emulator.faults()) >= 10


def test_no_name_is_written_twice(
    night: Callable[[pa.Table], Landing], client: storage.Client, batch_emulator: Emulator
) -> None:
    """Only the table is replaced: a name in a bucket takes about one write a second."""
    night(rows())
    before = {blob.name: blob.generation for blob in client.list_blobs("bucket", prefix="store/")}
    night(rows("A new first row."))
    after = {blob.name: blob.generation for blob in client.list_blobs("bucket", prefix="store/")}
    kept = before.keys() & after.keys()
    assert len(kept) > 10
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}
    assert not [name for name in after if "/.tmp/" in name]
