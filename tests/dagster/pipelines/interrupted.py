"""A run that somebody cancels in the UI while it plans its second night; else it is only interrupted."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.backfill import BulkActionStatus

from batch_assets.dagster import BatchStore, OpenAIBatchResource, batch_asset, batch_definitions

FOLDER = Path(__file__).parent
NIGHTS = dg.StaticPartitionsDefinition(["one", "two", "three"])
seen: list[str] = []


@batch_asset(
    provider="openai",
    model="gpt-5-mini",
    row_key="id",
    prompt="{{ text }}",
    output_type=str,
    partitions_def=NIGHTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def answered(context: dg.AssetExecutionContext) -> Iterator[dict[str, str]]:
    seen.append(context.run.run_id)
    if len(seen) == 2:
        if os.environ["CANCELED"] == "yes":
            (backfill,) = context.instance.get_backfills()
            context.instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELING))
            context.instance.report_run_canceling(context.run)
        raise DagsterExecutionInterruptedError
    yield {"id": "1", "text": "the same every night"}


defs = batch_definitions(
    assets=[answered],
    resources={"openai": OpenAIBatchResource(), "batch_store": BatchStore(root=str(FOLDER / "store"))},
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
)
