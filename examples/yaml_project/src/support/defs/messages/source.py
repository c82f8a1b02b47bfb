"""The messages of each day. Your own table stands here."""

from pathlib import Path

import dagster as dg
import pandas as pd


@dg.asset(
    group_name="support",
    kinds={"csv"},
    io_manager_key="batch_tables",
    partitions_def=dg.DailyPartitionsDefinition(start_date="2026-11-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def messages(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
    table = pd.read_csv(Path(__file__).with_name("messages.csv"))
    return {day: table[table["day"] == day] for day in context.partition_keys}
