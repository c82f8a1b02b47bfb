"""One step of a night by batch_assets: `plan`, `submit`, `harvest` or `land`."""

from __future__ import annotations

import sys
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from batch_assets.engine import (
    AssetSpec,
    advance_account,
    collect,
    plan_partition,
    poll_account,
    submit_waiting,
)
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import PlanRef, Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore
from benchmarks import data
from benchmarks.measure import measured


def main(step: str, rows: int, folder: Path, base_url: str) -> None:
    """Run one step of the night in `folder`."""
    schema = OutputSchema.of(data.Triage)
    spec = AssetSpec(
        asset="bench",
        provider="openai",
        request=Request(
            model="gpt-5-mini",
            system=data.SYSTEM,
            json_schema=schema.json_schema,
            schema_name=schema.name,
            max_output_tokens=200,
        ),
        prompt=Prompt(data.PROMPT, system=data.SYSTEM),
        schema=schema,
        row_key="id",
        max_cost_usd=Decimal(10_000),
    )
    provider = OpenAIProvider(api_key="bench", base_url=base_url)
    ledger = Ledger.open(LocalStore(folder / "store"))
    if step == "plan":
        batches = pa.RecordBatchReader.from_batches(data.SCHEMA, _ready(rows))
        with measured():
            plan_partition(ledger, provider, spec, None, batches)
    elif step == "submit":
        with measured():
            submit_waiting(ledger, provider)
    elif step == "harvest":
        while (poll := poll_account(ledger, provider)).ended < poll.open:
            time.sleep(1)
        with measured():
            advance_account(ledger, provider)
    else:
        with measured():
            collect(ledger, TableStore(folder / "tables"), PlanRef(asset="bench", partition=None, generation=1))


def _ready(rows: int) -> list[pa.RecordBatch]:
    """The rows, made beforehand where that fits, so that making them is not measured."""
    return list(data.batches(rows))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
