"""Batch assets in Dagster: the decorator, the resources, the engine's sensors and jobs, the loading of tables."""

from batch_assets.dagster.asset import batch_asset, build_batch_asset
from batch_assets.dagster.checks import BatchChecks
from batch_assets.dagster.compatible_providers import (
    HostDifferences,
    OpenAICompatibleBatchResource,
    RealtimeResource,
)
from batch_assets.dagster.components import BatchAssetComponent, BatchEngineComponent
from batch_assets.dagster.definitions import batch_definitions, engine_definitions, nightly_schedule
from batch_assets.dagster.io_manager import ParquetIOManager
from batch_assets.dagster.providers import (
    AnthropicBatchResource,
    BatchProviderResource,
    GeminiBatchResource,
    MistralBatchResource,
    OpenAIBatchResource,
    VertexBatchResource,
)
from batch_assets.dagster.store import BatchStore
from batch_assets.dagster.upstream import Upstream
from batch_assets.parts import Image, Pdf

__all__ = [
    "AnthropicBatchResource",
    "BatchAssetComponent",
    "BatchChecks",
    "BatchEngineComponent",
    "BatchProviderResource",
    "BatchStore",
    "GeminiBatchResource",
    "HostDifferences",
    "Image",
    "MistralBatchResource",
    "OpenAIBatchResource",
    "OpenAICompatibleBatchResource",
    "ParquetIOManager",
    "Pdf",
    "RealtimeResource",
    "Upstream",
    "VertexBatchResource",
    "batch_asset",
    "batch_definitions",
    "build_batch_asset",
    "engine_definitions",
    "nightly_schedule",
]
