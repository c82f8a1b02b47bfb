"""One night at two providers, without partitions; what the location's own IO manager takes is tables only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from batch_assets.dagster import (
    AnthropicBatchResource,
    BatchStore,
    OpenAIBatchResource,
    ParquetIOManager,
    batch_asset,
    batch_definitions,
)

FOLDER = Path(__file__).parent
COMMON: dict[str, Any] = {"row_key": "id", "prompt": "{{ text }}", "output_type": str, "max_output_tokens": 50}


@batch_asset(provider="anthropic", model="claude-haiku-4-5", **COMMON)
def by_anthropic() -> Iterator[dict[str, str]]:
    yield {"id": "1", "text": "one"}


@batch_asset(provider="openai", model="gpt-5-mini", **COMMON)
def by_openai() -> Iterator[dict[str, str]]:
    yield {"id": "1", "text": "one"}


defs = batch_definitions(
    assets=[by_anthropic, by_openai],
    resources={
        "anthropic": AnthropicBatchResource(),
        "openai": OpenAIBatchResource(),
        "batch_store": BatchStore(root=str(FOLDER / "store")),
        "io_manager": ParquetIOManager(base=str(FOLDER / "own_tables")),
    },
    executor=dg.in_process_executor,
    poll_interval_seconds=5,
)
