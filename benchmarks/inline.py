"""Creating an Anthropic batch, whose requests go inline: ours streams them, the SDK's `batches.create` holds them."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import anthropic
import pandas as pd
import pyarrow as pa

from batch_assets.engine import AssetSpec, plan_partition, submit_waiting
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.records import Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore
from benchmarks import data
from benchmarks.measure import measured

MODEL = "claude-haiku-4-5"


def plan(rows: int, folder: Path, base_url: str) -> None:
    """A plan of one batch, for `create`."""
    schema = OutputSchema.of(data.Triage)
    spec = AssetSpec(
        asset="bench",
        provider="anthropic",
        request=Request(
            model=MODEL,
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
    batches = pa.RecordBatchReader.from_batches(data.SCHEMA, data.batches(rows))
    plan_partition(_ledger(folder), AnthropicProvider(api_key="bench", base_url=base_url), spec, None, batches)


def create(_: int, folder: Path, base_url: str) -> None:
    """The batch by batch_assets, from the stored requests."""
    provider = AnthropicProvider(api_key="bench", base_url=base_url)
    with measured():
        sent = submit_waiting(_ledger(folder), provider)
    if sent != 1:
        raise RuntimeError(f"{sent} batches were sent")


def create_by_hand(rows: int, _: Path, base_url: str) -> None:
    """The same batch by the SDK, from a DataFrame."""
    frame = pd.concat([batch.to_pandas() for batch in data.batches(rows)], ignore_index=True)
    schema = OutputSchema.of(data.Triage).json_schema
    client = anthropic.Anthropic(api_key="bench", base_url=base_url)
    with measured():
        client.messages.batches.create(
            requests=[  # type: ignore[arg-type]  # dicts, as people write them
                {
                    "custom_id": f"request-{number}",
                    "params": {
                        "model": MODEL,
                        "max_tokens": 200,
                        "system": data.SYSTEM,
                        "messages": [{"role": "user", "content": data.PROMPT.replace("{{ text }}", row["text"])}],
                        "output_config": {"format": {"type": "json_schema", "schema": schema}},
                    },
                }
                for number, row in frame.iterrows()
            ]
        )


def _ledger(folder: Path) -> Ledger:
    return Ledger.open(LocalStore(folder / "inline"))


if __name__ == "__main__":
    step = {"plan": plan, "create": create, "create_by_hand": create_by_hand}[sys.argv[1]]
    step(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
