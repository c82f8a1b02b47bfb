"""A night of the engine with any provider, against the emulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from batch_assets.engine import AssetSpec, collect, plan_partition, submit_waiting, wait_for
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.providers.protocol import Provider
from batch_assets.records import BatchPhase, Ending, Landing, Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore

OPENAI_STATUSES: dict[str, tuple[BatchPhase, Ending | None]] = {
    "validating": (BatchPhase.RUNNING, None),
    "in_progress": (BatchPhase.RUNNING, None),
    "finalizing": (BatchPhase.RUNNING, None),
    "cancelling": (BatchPhase.CANCELING, None),
    "completed": (BatchPhase.ENDED, Ending.COMPLETED),
    "failed": (BatchPhase.ENDED, Ending.FAILED),
    "expired": (BatchPhase.ENDED, Ending.EXPIRED),
    "cancelled": (BatchPhase.ENDED, Ending.CANCELED),
}
"""Of OpenAI's batches, and of those who speak its API."""


class Intent(BaseModel):
    intent: Literal["card_arrival", "lost_card", "exchange_rate", "other"]
    urgency: int = Field(ge=1, le=5)


def spec_of(
    model: str,
    output_type: type = Intent,
    prompt: str = "Classify.\n\n{{ text }}",
    *,
    schema: OutputSchema | None = None,
    **more: Any,
) -> AssetSpec:
    """The definition of an asset; `more` goes to the request where that has it, else to the definition."""
    schema = schema or OutputSchema.of(output_type)
    of_request = {
        name: more.pop(name) for name in ("endpoint", "system", "max_output_tokens", "params") if name in more
    }
    request = Request(model=model, json_schema=schema.json_schema, schema_name=schema.name, **of_request)
    given = {"asset": "queries", "provider": "provider", "row_key": "id", **more}
    return AssetSpec(request=request, prompt=Prompt(prompt), schema=schema, **given)


def messages(count: int) -> pa.Table:
    texts = [f'Message {number}: my card \u2028 has not arrived.\n"Grüße" 🌍' for number in range(count)]
    return pa.table({"id": [f"row-{number}" for number in range(count)], "text": texts})


@dataclass
class Nights:
    """One deployment with one account."""

    folder: Path
    provider: Provider
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger.open(LocalStore(self.folder / "store"))

    def night(self, spec: AssetSpec, rows: pa.Table, *, timeout_seconds: float = 20) -> tuple[Landing, pa.Table]:
        plan = plan_partition(self.ledger, self.provider, spec, "d1", rows.to_batches())
        assert plan.refused is None, plan.refused
        submit_waiting(self.ledger, self.provider, log=self.log.append)
        (status,) = wait_for(
            self.ledger,
            self.provider,
            [plan.ref],
            interval_seconds=0.05,
            timeout_seconds=timeout_seconds,
            log=self.log.append,
        )
        assert status.settled, (status, self.log)
        landing = collect(self.ledger, TableStore(self.folder / "tables"), plan.ref)
        return landing, pq.read_table(landing.path, partitioning=None)
