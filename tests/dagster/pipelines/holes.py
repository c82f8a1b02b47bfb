"""Batch assets over days of which some are missing: of a week, and all that there are."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from batch_assets.dagster import BatchStore, OpenAIBatchResource, Upstream, batch_asset, batch_definitions

FOLDER = Path(__file__).parent
DAYS = dg.DailyPartitionsDefinition("2025-01-06", end_date="2025-01-20")
WEEKS = dg.WeeklyPartitionsDefinition("2025-01-06", end_date="2025-01-20", day_offset=1)
COMMON: dict[str, Any] = {"provider": "openai", "model": "gpt-5-mini", "row_key": "id", "output_type": str}
MISSING = {"allow_missing_partitions": True}


@dg.asset(partitions_def=DAYS, io_manager_key="batch_tables")
def calls(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"id": [context.partition_key], "text": [f"a call of {context.partition_key}"]})


@batch_asset(partitions_def=WEEKS, prompt="{{ text }}", ins={"calls": dg.AssetIn(metadata=MISSING)}, **COMMON)
def weekly(calls: Upstream) -> Any:
    return calls.batches()


@batch_asset(partitions_def=WEEKS, prompt="{{ text }}", **COMMON)
def strict(calls: Upstream) -> Any:
    return calls.batches()


@batch_asset(prompt="{{ text }}", **COMMON)
def whole(calls: Upstream) -> Any:
    return calls.batches()


@dg.asset_check(asset=whole)
def looked_at(whole: pd.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"rows": len(whole)})


defs = batch_definitions(
    assets=[calls, weekly, strict, whole],
    asset_checks=[looked_at],
    resources={"openai": OpenAIBatchResource(), "batch_store": BatchStore(root=str(FOLDER / "store"))},
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
)
