"""tickets -> summarized (batch) -> classified (batch); tickets -> rated (batch); digest below classified and rated."""

import json
import os
from pathlib import Path
from typing import Literal

import dagster as dg
import pandas as pd
from pydantic import BaseModel, Field

from batch_assets.dagster import BatchChecks, BatchStore, OpenAIBatchResource, Upstream, batch_asset, batch_definitions

FOLDER = Path(__file__).parent
DAYS = dg.DailyPartitionsDefinition("2025-01-01", end_date="2025-02-01")
RATED = os.environ.get("NIGHTS_RATED", "rated")
AT_ONCE = os.environ.get("NIGHTS_AT_ONCE")
WHOLE_RANGE = dg.BackfillPolicy.multi_run(int(AT_ONCE)) if AT_ONCE else dg.BackfillPolicy.single_run()


class Intent(BaseModel):
    intent: Literal["card_arrival", "lost_card", "refund"]
    urgency: int = Field(ge=1, le=5, description="5 is now")


class Mood(BaseModel):
    mood: Literal["calm", "angry"]


@dg.asset(partitions_def=DAYS, io_manager_key="batch_tables", backfill_policy=WHOLE_RANGE)
def tickets(context: dg.AssetExecutionContext) -> dict:
    return {
        day: pd.DataFrame(json.loads((FOLDER / f"{day}.json").read_text()), columns=["id", "text"])
        for day in context.partition_keys
    }


COMMON = {
    "provider": "openai",
    "model": "gpt-5-mini",
    "row_key": "id",
    "max_output_tokens": 100,
    "partitions_def": DAYS,
    "backfill_policy": WHOLE_RANGE,
}


@batch_asset(prompt="Summarize: {{ text }}", output_type=str, **COMMON)
def summarized(tickets: Upstream):
    with (FOLDER / "read.txt").open("a") as log:
        log.write(f"{tickets.partition_keys}\n")
    return tickets.batches()


@batch_asset(prompt="Classify: {{ response }}", output_type=Intent, group_name="nlp", **COMMON)
def classified(summarized: Upstream):
    frame = summarized.frame()
    return frame[frame["batch_outcome"] == "succeeded"]


@batch_asset(
    name=RATED,
    prompt="How angry? {{ text }}",
    output_type=Mood,
    max_cost_usd="0.01",
    checks=BatchChecks(min_success_rate=0.75, blocking=True),
    **COMMON,
)
def rated(tickets: Upstream):
    return tickets


@dg.asset_check(asset=classified, blocking=True)
def some_rows(classified: dict[str, pd.DataFrame]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=all(len(frame) > 0 for frame in classified.values()))


@dg.asset(
    partitions_def=DAYS,
    io_manager_key="batch_tables",
    backfill_policy=WHOLE_RANGE,
    ins={"rated": dg.AssetIn(key=RATED)},
)
def digest(classified: dict[str, pd.DataFrame], rated: dict[str, pd.DataFrame]) -> dict:
    return {
        day: classified[day][["id", "text", "intent"]].merge(rated[day][["id", "mood"]], on="id") for day in classified
    }


@dg.asset(partitions_def=DAYS, backfill_policy=WHOLE_RANGE, deps=[summarized, RATED])
def foot() -> None:
    with (FOLDER / "foot.txt").open("a") as log:
        log.write("ran\n")


defs = batch_definitions(
    assets=[tickets, summarized, classified, rated, digest, foot],
    asset_checks=[some_rows],
    resources={
        "openai": OpenAIBatchResource(),
        "batch_store": BatchStore(root=str(FOLDER / "store"), hold=os.environ.get("NIGHTS_HOLD", "auto")),
    },
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
    nightly="02:30",
)
