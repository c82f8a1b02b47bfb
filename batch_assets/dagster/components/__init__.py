"""Batch assets in YAML: two components for `dg`."""

from batch_assets.dagster.components.batch_asset_component import BatchAssetComponent
from batch_assets.dagster.components.batch_engine_component import BatchEngineComponent

__all__ = ["BatchAssetComponent", "BatchEngineComponent"]
