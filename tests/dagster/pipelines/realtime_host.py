"""A night at a host without batches."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from batch_assets.dagster import BatchStore, RealtimeResource, batch_asset, batch_definitions

FOLDER = Path(__file__).parent


@batch_asset(
    provider="host",
    model="gpt-5-mini",
    prompt="{{ text }}",
    output_type=str,
    row_key="id",
    max_output_tokens=50,
)
def answered() -> Iterator[dict[str, str]]:
    for number in range(12):
        yield {"id": str(number), "text": f"text {number}"}


defs = batch_definitions(
    assets=[answered],
    resources={
        "host": RealtimeResource(
            dialect="gateway", base_url=dg.EnvVar("OPENAI_BASE_URL"), root=str(FOLDER / "realtime"), concurrency=4
        ),
        "batch_store": BatchStore(root=str(FOLDER / "store")),
    },
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
)
