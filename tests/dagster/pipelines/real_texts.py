"""BANKING77's messages, classified, and QMSum's meetings, summarized; one file of rows a source and a day."""

from pathlib import Path
from typing import Literal

import dagster as dg
import pandas as pd
from pydantic import BaseModel

from batch_assets.dagster import BatchStore, OpenAIBatchResource, Upstream, batch_asset, batch_definitions

FOLDER = Path(__file__).parent
DAYS = dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-15")
NIGHTLY = {
    "provider": "openai",
    "model": "gpt-5-mini",
    "row_key": "id",
    "max_output_tokens": 4000,
    "partitions_def": DAYS,
}


class Intent(BaseModel):
    intent: Literal["card_arrival", "lost_or_stolen_card", "cash_withdrawal_charge", "exchange_rate", "top_up_failed"]
    reason: str


class Summary(BaseModel):
    summary: str
    action_items: list[str]


def source(name: str) -> dg.AssetsDefinition:
    """The rows of a day, read from the test's folder."""

    @dg.asset(
        name=name,
        partitions_def=DAYS,
        io_manager_key="batch_tables",
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def rows(context: dg.AssetExecutionContext) -> dict:
        return {day: pd.read_parquet(FOLDER / f"{name}-{day}.parquet") for day in context.partition_keys}

    return rows


@batch_asset(prompt="Classify the customer's message.\n\n{{ text }}", output_type=Intent, **NIGHTLY)
def messages_classified(messages: Upstream):
    return messages.batches()


@batch_asset(prompt="Summarize the meeting.\n\n{{ text }}", output_type=Summary, output_columns=["query"], **NIGHTLY)
def meetings_summarized(meetings: Upstream):
    return meetings.batches()


defs = batch_definitions(
    assets=[source("messages"), messages_classified, source("meetings"), meetings_summarized],
    resources={"openai": OpenAIBatchResource(), "batch_store": BatchStore(root=str(FOLDER / "store"))},
    poll_interval_seconds=1,
    executor=dg.in_process_executor,
)
