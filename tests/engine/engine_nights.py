"""Rows, output types and definitions that the tests of the engine share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from batch_assets.engine import AssetSpec, plan_partition, submit_waiting
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore

DATA = Path(__file__).parents[3] / "shared" / "data"
"""Real texts that are not part of the repository."""


class Intent(BaseModel):
    intent: Literal["card_arrival", "lost_card", "exchange_rate", "other"]
    urgency: int = Field(ge=1, le=5)
    reason: str


@functools.cache
def schema_of(output_type: type) -> OutputSchema:
    return OutputSchema.of(output_type)


def spec_of(
    output_type: type, prompt: str = "Classify.\n\n{{ text }}", *, asset: str = "queries", **more: Any
) -> AssetSpec:
    schema = schema_of(output_type)
    request = Request(
        model=more.pop("model", "gpt-5-mini"),
        json_schema=schema.json_schema,
        schema_name=schema.name,
        max_output_tokens=more.pop("max_output_tokens", 200),
        params=more.pop("params", {}),
    )
    return AssetSpec(
        asset=asset,
        provider="openai",
        request=request,
        prompt=Prompt(prompt),
        schema=schema,
        row_key=more.pop("row_key", "id"),
        **more,
    )


def intent_spec(prompt: str = "Classify.\n\n{{ text }}", **more: Any) -> AssetSpec:
    return spec_of(Intent, prompt, **more)


def messages(count: int, salt: str = "") -> pa.Table:
    """Distinct messages with a column that no prompt uses."""
    return pa.table(
        {
            "id": [f"row-{number}" for number in range(count)],
            "text": [f"Message {number}{salt}: my card has not arrived." for number in range(count)],
            "note": [f"note {number}" for number in range(count)],
        },
        schema=pa.schema([("id", pa.string()), ("text", pa.string()), ("note", pa.string())]),
    )


def edited(rows: pa.Table, column: str, at: int, value: Any) -> pa.Table:
    values = rows[column].to_pylist()
    values[at] = value
    return rows.set_column(
        rows.schema.get_field_index(column), column, pa.array(values, rows.schema.field(column).type)
    )


@functools.cache
def banking_days() -> list[pa.Table]:
    """The partitions of three days."""
    rows = pq.read_table(DATA / "banking77.parquet")
    days = sorted(set(rows["day"].to_pylist()))[:3]
    return [rows.filter(pc.equal(rows["day"], day)).combine_chunks() for day in days]


def plan_and_submit(folder: Path, base_url: str, starting: Any, found: Any) -> None:
    """What a second process does that plans the same partition at the same time; puts what it found."""
    provider = OpenAIProvider(api_key="sk-test", base_url=base_url)
    ledger = Ledger.open(LocalStore(folder / "store"))
    starting.wait(60)
    plan = plan_partition(ledger, provider, intent_spec(), "d1", messages(2000).to_batches())
    submit_waiting(ledger, provider)
    found.put((plan.ref.generation, plan.writer))
