"""A batch asset for each kind of partitions, and one that maps days to weeks."""

from pathlib import Path

import dagster as dg
import pandas as pd

from batch_assets.dagster import BatchStore, OpenAIBatchResource, Upstream, batch_asset, batch_definitions

FOLDER = Path(__file__).parent
DAYS = dg.DailyPartitionsDefinition("2025-01-06", end_date="2025-01-20")
WEEKS = dg.WeeklyPartitionsDefinition("2025-01-06", end_date="2025-01-20", day_offset=1)
REGIONS = dg.StaticPartitionsDefinition(["north", "south", "west"])
CITIES = dg.DynamicPartitionsDefinition(name="cities")
BOTH = dg.MultiPartitionsDefinition({"day": DAYS, "region": REGIONS})
COMMON = {"provider": "openai", "model": "gpt-5-mini", "row_key": "id", "prompt": "{{ text }}", "output_type": str}


def rows(name: str) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{name}/1", f"{name}/2"], "text": [f"one of {name}", f"two of {name}"]})


@dg.asset(partitions_def=DAYS, io_manager_key="batch_tables", backfill_policy=dg.BackfillPolicy.single_run())
def calls(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
    return {day: rows(day) for day in context.partition_keys}


@batch_asset(
    partitions_def=WEEKS, ins={"calls": dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping())}, **COMMON
)
def weekly(calls: Upstream):
    return calls.batches()


@batch_asset(partitions_def=REGIONS, key_prefix="by", **COMMON)
def region(context):
    return rows(context.partition_key)


@batch_asset(partitions_def=CITIES, **COMMON)
def city(context):
    return rows(context.partition_key).to_dict("records")


@batch_asset(partitions_def=BOTH, backfill_policy=dg.BackfillPolicy.single_run(), **COMMON)
def day_and_region():
    yield {"id": "x", "text": "the same everywhere"}


@dg.asset
def everything() -> pd.DataFrame:
    return rows("all")


@batch_asset(max_output_tokens=50, **COMMON)
def whole(everything: Upstream):
    return everything.table()


@dg.asset
def after(whole: pd.DataFrame) -> int:
    return len(whole)


defs = batch_definitions(
    assets=[calls, weekly, region, city, day_and_region, everything, whole, after],
    resources={
        "openai": OpenAIBatchResource(),
        "batch_store": BatchStore(root=str(FOLDER / "store")),
        "broken": OpenAIBatchResource(api_key=dg.EnvVar("A_KEY_THAT_NOBODY_SET")),
        "io_manager": dg.FilesystemIOManager(base_dir=str(FOLDER / "pickles")),
    },
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
)
