"""Batch assets in Dagster: the decorator, the resources, the engine's sensors and jobs, the loading of tables."""

from batch_assets.dagster.asset import batch_asset, build_batch_asset
from batch_assets.dagster.checks import BatchChecks
from batch_assets.dagster.definitions import batch_definitions, engine_definitions, nightly_schedule
from batch_assets.dagster.io_manager import ParquetIOManager
from batch_assets.dagster.resources import (
    BatchProviderResource,
    BatchStore,
    MistralBatchResource,
    OpenAIBatchResource,
    OpenAICompatibleBatchResource,
    RealtimeResource,
)
from batch_assets.dagster.upstream import Upstream

__all__ = [
    "BatchChecks",
    "BatchProviderResource",
    "BatchStore",
    "MistralBatchResource",
    "OpenAIBatchResource",
    "OpenAICompatibleBatchResource",
    "ParquetIOManager",
    "RealtimeResource",
    "Upstream",
    "batch_asset",
    "batch_definitions",
    "build_batch_asset",
    "engine_definitions",
    "nightly_schedule",
]
