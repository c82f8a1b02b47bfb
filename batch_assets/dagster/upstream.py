"""`Upstream`: what an asset function gets for an asset above it. Nothing is loaded before the rows are asked for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from dagster import AssetKey, AssetsDefinition, AssetValueLoader
from dagster._core.definitions.partitions.context import partition_loading_context

from batch_assets.dagster.rows import record_batches
from batch_assets.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from dagster import AssetExecutionContext, DagsterInstance

LOAD_AS = "batch_assets/load_as"
"""Input metadata by which our IO manager is asked for a stream; other IO managers do not look at it."""

GIVEN_ROWS: ContextVar[Mapping[AssetKey, object] | None] = ContextVar("batch_assets_given_rows", default=None)
"""Rows by asset that stand in for what the assets above hold: for tests."""


class Upstream:
    """The rows of an asset above, for one partition of the batch asset. Every method loads anew."""

    def __init__(
        self,
        key: AssetKey,
        partition_keys: tuple[str, ...] | None,
        load: Callable[[str | None], object],
    ) -> None:
        self.key = key
        self.partition_keys = partition_keys
        """Its partitions that belong to the batch asset's one, in order; None if it has no partitions."""
        self._load = load

    def __repr__(self) -> str:
        return f"Upstream({self.key.to_user_string()!r}, partition_keys={self.partition_keys!r})"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as record batches, in order, one partition after the other."""
        for value in self.values():
            yield from record_batches(value)

    def table(self) -> pa.Table:
        """All rows as one Arrow table, in memory."""
        batches = list(self.batches())
        if not batches:
            raise InputError(f"{self.key.to_user_string()} has neither rows nor columns for {self.partition_keys}")
        return pa.Table.from_batches(batches)

    def frame(self) -> pd.DataFrame:
        """All rows as one pandas DataFrame, in memory."""
        return self.table().to_pandas()

    def values(self) -> Iterator[Any]:
        """What the upstream's IO manager gives, as it is, one partition after the other."""
        for partition in self.partition_keys if self.partition_keys is not None else (None,):
            yield self._load(partition)


class UpstreamLoader:
    """Makes the handles of one run."""

    def __init__(self, context: AssetExecutionContext, metadata: Mapping[AssetKey, Mapping[str, Any]]) -> None:
        self._log = context.log
        self._metadata = metadata
        self._instance: DagsterInstance = context.instance
        self._graph = context.job_def.asset_layer.asset_graph
        self._asset: AssetsDefinition = context.assets_def
        self._key = context.asset_key
        self._values = _value_loader(context)

    def upstream(self, key: AssetKey, partition: str | None) -> Upstream:
        """The handle of the asset `key` for one partition of the batch asset. Raises InputError if none maps to it."""
        given = GIVEN_ROWS.get()
        if given is not None:
            return Upstream(key, None if partition is None else (partition,), lambda _: given[key])
        return Upstream(key, self._mapped(key, partition), lambda above: self._load(key, above))

    def _load(self, key: AssetKey, partition: str | None) -> object:
        return self._values.load_asset_value(
            key,
            partition_key=partition,
            input_definition_metadata={**self._metadata.get(key, {}), LOAD_AS: "dataset"},
        )

    def _mapped(self, key: AssetKey, partition: str | None) -> tuple[str, ...] | None:
        above = self._graph.get(key).partitions_def
        if above is None:
            return None
        own = self._asset.partitions_def
        with partition_loading_context(dynamic_partitions_store=self._instance):
            subset = own.subset_with_partition_keys([partition]) if own and partition is not None else None
            mapping = self._asset.infer_partition_mapping(self._key, key, above)
            result = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, own, above)
            keys = set(result.partitions_subset.get_partition_keys())
            missing = result.required_but_nonexistent_subset
            if not keys:
                wanted = "" if missing.is_empty else f" (it would be {', '.join(missing.get_partition_keys())})"
                raise InputError(
                    f"{key.to_user_string()} has no partition for {partition!r} of {self._key.to_user_string()}{wanted}"
                )
            if len(keys) == 1:
                return tuple(keys)
            in_order = tuple(name for name in above.get_partition_keys() if name in keys)
        if own is None or self._metadata.get(key, {}).get("allow_missing_partitions"):
            return self._that_there_are(key, in_order)
        return in_order

    def _that_there_are(self, key: AssetKey, partitions: tuple[str, ...]) -> tuple[str, ...]:
        """Those that have been materialized; all, where Dagster knows of none: another system makes them."""
        there = self._instance.get_materialized_partitions(key)
        found = tuple(name for name in partitions if name in there)
        if found and len(found) < len(partitions):
            self._log.warning(
                f"{key.to_user_string()}: {len(partitions) - len(found)} of {len(partitions)} partitions are not "
                "materialized, and are left out"
            )
        return found or partitions


def _value_loader(context: AssetExecutionContext) -> AssetValueLoader:
    try:
        return context.repository_def.get_asset_value_loader(context.instance)
    except Exception:  # noqa: BLE001 -- Dagster raises CheckError where a run has no repository (dg.materialize)
        graph = context.job_def.asset_layer.asset_graph
        return AssetValueLoader({node.key: node.assets_def for node in graph.asset_nodes}, instance=context.instance)
