"""The example: a night of support messages, and one of meetings, through a batch API. Copy it and begin.

It goes to OpenAI where OPENAI_API_KEY is set, and else to the emulator (`make dev`, or `batch-assets emulator --port
8765` beside `dagster dev -f definitions.py`). `make dev PROVIDER=anthropic` moves it to another provider by that word.
"""

import os
from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, Field

from batch_assets import samples
from batch_assets.dagster import (
    AnthropicBatchResource,
    BatchProviderResource,
    BatchStore,
    GeminiBatchResource,
    MistralBatchResource,
    OpenAIBatchResource,
    Upstream,
    VertexBatchResource,
    batch_asset,
    batch_definitions,
    build_batch_asset,
)

nightly = dg.DailyPartitionsDefinition(start_date=samples.first_day())
in_one_run = dg.BackfillPolicy.single_run()  # of many nights; a batch asset has it by itself

provider = samples.chosen_provider()  # "openai", "anthropic", ...: the key of the resource at the end
models: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("gpt-5-mini", {"reasoning_effort": "minimal"}),
    "anthropic": ("claude-haiku-4-5", {}),
    "gemini": ("gemini-3-flash-preview", {"thinkingConfig": {"thinkingLevel": "minimal"}}),
    "vertex": ("gemini-3-flash-preview", {"thinkingConfig": {"thinkingLevel": "minimal"}}),
    "mistral": ("mistral-small-2603", {}),
}
model, params = models[provider]


# ---------------------------------------------------------------- support messages


class Intent(BaseModel):
    """What a customer wants."""

    intent: Literal[
        "card_arrival",
        "lost_or_stolen_card",
        "unknown_payment",
        "declined_payment",
        "refund",
        "transfer",
        "exchange_rate_or_fee",
        "top_up",
        "verify_identity",
        "pin_or_passcode",
        "close_account",
        "other",
    ]
    urgency: int = Field(ge=1, le=5, description="1: can wait, 5: money is being lost now")
    reason: str = Field(description="Why, in one short sentence of English")


@dg.asset(partitions_def=nightly, backfill_policy=in_one_run, kinds={"parquet"}, io_manager_key="batch_tables")
def support_queries(context: dg.AssetExecutionContext) -> dict[str, pa.RecordBatchReader]:
    """The messages of each day. Your own table stands here."""
    return {day: samples.support_queries(day) for day in context.partition_keys}


@batch_asset(
    provider=provider,
    model=model,
    system="You sort a bank's incoming messages, in whatever language they are written.",
    prompt="Classify this message. An empty one is `other`.\n\n{{ text or '' }}",
    output_type=Intent,
    row_key="id",
    max_output_tokens=400,
    max_cost_usd=5,
    params=params,
    partitions_def=nightly,
)
def support_queries_classified(support_queries: Upstream) -> Iterator[pa.RecordBatch]:
    """Every message with its intent, its urgency and the reason."""
    return support_queries.batches()


@dg.asset(partitions_def=nightly, backfill_policy=in_one_run, kinds={"pandas"}, io_manager_key="batch_tables")
def intent_report(support_queries_classified: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """How many customers wanted what on each day, and how urgently."""
    return {day: count_intents(messages) for day, messages in support_queries_classified.items()}


def count_intents(messages: pd.DataFrame) -> pd.DataFrame:
    """The report of one day, the most frequent intent first."""
    grouped = messages.dropna(subset=["intent"]).groupby("intent", observed=True)
    report = grouped.agg(messages=("id", "size"), mean_urgency=("urgency", "mean")).reset_index()
    return report.sort_values("messages", ascending=False)


# ---------------------------------------------------------------- meetings


class Summary(BaseModel):
    """What a meeting came to."""

    summary: str = Field(description="Three sentences at most")
    action_items: list[str] = Field(description="Who does what until when, one entry each")


@dg.asset(partitions_def=nightly, backfill_policy=in_one_run, kinds={"parquet"}, io_manager_key="batch_tables")
def meetings(context: dg.AssetExecutionContext) -> dict[str, pa.RecordBatchReader]:
    """The transcripts of each day's meetings."""
    return {day: samples.meetings(day) for day in context.partition_keys}


meetings_summarized = build_batch_asset(
    "meetings_summarized",
    source="meetings",
    provider=provider,
    model=model,
    prompt="Summarize this meeting of {{ attendees | join(', ') }} and list its action items.\n\n{{ text }}",
    output_type=Summary,
    output_columns=["title", "attendees"],  # not the transcript again
    row_key="id",
    max_output_tokens=2_000,
    max_cost_usd=5,
    partitions_def=nightly,
)


# ---------------------------------------------------------------- where it runs

emulator = samples.emulator_url()  # None where the provider's own key is set
key = "emulator" if emulator else dg.EnvVar(samples.KEYS[provider])


def at(path: str) -> str | None:
    """Where the emulator speaks as a provider; None: the provider's own address."""
    return f"{emulator}{path}" if emulator else None


accounts: dict[str, BatchProviderResource] = {
    "openai": OpenAIBatchResource(api_key=key, base_url=at("/v1")),
    "anthropic": AnthropicBatchResource(api_key=key, base_url=at("")),
    "gemini": GeminiBatchResource(api_key=key, base_url=at("/gemini")),
    "vertex": VertexBatchResource(
        project=os.environ.get("GOOGLE_CLOUD_PROJECT", "demo"),
        location=os.environ.get("GOOGLE_CLOUD_LOCATION", "global"),
        gcs_folder=os.environ.get("BATCH_ASSETS_GCS_FOLDER", "gs://demo/batches"),
        base_url=at("/vertex"),
    ),
    "mistral": MistralBatchResource(api_key=key, server_url=at("/mistral")),
}

defs = batch_definitions(
    assets=[support_queries, support_queries_classified, intent_report, meetings, meetings_summarized],
    resources={provider: accounts[provider], "batch_store": BatchStore(root=os.environ.get("BATCH_ASSETS_STORE"))},
    executor=dg.in_process_executor,
    nightly="02:30",
    poll_interval_seconds=5 if emulator else 60,
)
