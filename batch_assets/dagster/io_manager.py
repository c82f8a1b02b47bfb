"""Parquet tables for the assets around a batch asset: loaded by type annotation, written atomically.

Layout: `<base>/<asset key...>/<partition>.parquet`, the same for batch assets and for ordinary ones.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from dagster import (
    ConfigurableIOManager,
    InitResourceContext,
    InputContext,
    OutputContext,
    StaticPartitionsDefinition,
    TableColumn,
    TableSchema,
    TimeWindowPartitionsDefinition,
)
from dagster import io_manager as dagster_io_manager
from pydantic import Field, PrivateAttr

from batch_assets.dagster.rows import record_batches
from batch_assets.dagster.store import STORE_KEY
from batch_assets.dagster.upstream import LOAD_AS
from batch_assets.errors import ConfigError, InputError
from batch_assets.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLES_KEY = "batch_tables"
"""Resource key under which `batch_definitions` gives this IO manager to ordinary assets."""
OWN_TABLES_KEY = "batch_assets_tables"
"""Resource key that batch assets bring with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    path: str
    schema: pa.Schema
    rows: int
    size_bytes: int


class ParquetIOManager(ConfigurableIOManager):
    """Loads tables as the annotation asks: pandas or Polars DataFrame, pyarrow Table or Dataset, or a dict of these by
    partition. Writes what an asset returns (a table in any of these forms, or a dict of them by partition)."""

    base: str = Field(description="Folder of the tables.")

    _tables: TableStore | None = PrivateAttr(default=None)

    @classmethod
    def over(cls, tables: TableStore) -> ParquetIOManager:
        """The IO manager of published tables, wherever they are."""
        manager = cls(base=tables.root)
        manager._tables = tables
        return manager

    def table_store(self) -> TableStore:
        """Where the tables are."""
        return self._tables or TableStore(self.base)

    def load_input(self, context: InputContext) -> object:
        """One partition, a range or all, in the order of the partitions. Raises InputError naming what is missing."""
        files = self._files(context)
        wanted = _wanted(context)
        if get_origin(wanted) is dict:
            kind = get_args(wanted)[1]
            return {partition: _loaded(self.table_store(), [file], kind) for partition, file in files.items()}
        return _loaded(self.table_store(), list(files.values()), wanted)

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Publish each partition's table all at once. Raises InputError for what is not a table."""
        if obj is None:
            return
        asset = "/".join(context.asset_key.path if context.has_asset_key else context.get_identifier())
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else [None]
        if isinstance(obj, Mapping):
            tables = dict(obj)
        elif len(partitions) == 1:
            tables = {partitions[0]: obj}
        else:
            raise InputError(
                f"{asset}: this run covers {len(partitions)} partitions; return a dict with a table for each, or "
                "leave out the backfill policy, so that each partition is a run"
            )
        if set(tables) != set(partitions):
            raise InputError(
                f"{asset}: the run is for {partitions}, and returned tables for {sorted(map(str, tables))}"
            )
        written = [self._write(asset, partition, tables[partition]) for partition in partitions]
        columns = [TableColumn(name=field.name, type=str(field.type)) for field in written[0].schema]
        context.add_output_metadata({"dagster/column_schema": TableSchema(columns=columns)})
        if len(written) == 1:  # metadata goes to every partition of the run, and these figures are of one
            figures: dict[str, Any] = {
                "dagster/row_count" if partitions == [None] else "dagster/partition_row_count": written[0].rows,
                "dagster/uri": written[0].path,
                "batch_assets/size_bytes": written[0].size_bytes,
            }
            context.add_output_metadata(figures)

    def _write(self, asset: str, partition: str | None, value: object) -> _Written:
        store = self.table_store()
        batches = record_batches(value)
        first = next(batches, None)
        if first is None:
            raise InputError(f"{asset}: {partition} has neither rows nor columns; return a table with columns")
        rows = first.num_rows
        with store.scratch() as scratch:
            with pq.ParquetWriter(str(scratch), first.schema, compression="zstd") as file:
                file.write_batch(first)
                for batch in batches:
                    file.write_batch(batch)
                    rows += batch.num_rows
            size = scratch.stat().st_size
            store.publish(scratch, asset, partition, generation=0)
        return _Written(path=store.path(asset, partition), schema=first.schema, rows=rows, size_bytes=size)

    def _files(self, context: InputContext) -> dict[str | None, str]:
        store = self.table_store()
        asset = "/".join(context.asset_key.path)
        partitions: list[str | None] = [*_in_order(context)] if context.has_asset_partitions else [None]
        files = {partition: store.file(asset, partition) for partition in partitions}
        missing = [partition for partition in partitions if not store.exists(asset, partition)]
        if 0 < len(missing) < len(files) and (_asks_for_all(context, partitions) or _may_miss(context)):
            context.log.warning(f"{asset}: {len(missing)} of {len(files)} partitions have no table, and are left out")
            return {partition: file for partition, file in files.items() if partition not in missing}
        if missing:
            what = asset if missing == [None] else f"{asset}, partition {', '.join(map(str, missing[:5]))}"
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise InputError(
                f"there is no table of {what}{more} ({files[missing[0]]}): materialize it first"
                + ("" if missing == [None] else ", or set the input's metadata `allow_missing_partitions`")
            )
        return files


@dagster_io_manager(required_resource_keys={STORE_KEY})
def store_tables(context: InitResourceContext) -> ParquetIOManager:
    """The IO manager over the folder of tables of the BatchStore."""
    return ParquetIOManager.over(getattr(context.resources, STORE_KEY).table_store())


def _in_order(context: InputContext) -> list[str]:
    """The partitions to load, in their definition's order: of static ones Dagster gives a set."""
    definition, keys = context.asset_partitions_def, list(context.asset_partition_keys)
    if isinstance(definition, StaticPartitionsDefinition):
        places = {key: place for place, key in enumerate(definition.get_partition_keys())}
        return sorted(keys, key=places.__getitem__)
    return keys if isinstance(definition, TimeWindowPartitionsDefinition) else sorted(keys)


def _asks_for_all(context: InputContext, partitions: Sequence[str | None]) -> bool:
    """A consumer without partitions, or an asset check, gets every partition that there is."""
    return len(partitions) > 1 and len(partitions) == len(context.asset_partitions_def.get_partition_keys())


def _may_miss(context: InputContext) -> bool:
    return bool((context.definition_metadata or {}).get("allow_missing_partitions"))


def _wanted(context: InputContext) -> Any:
    kind = context.dagster_type.typing_type
    if kind is Any or kind is object:
        metadata = context.definition_metadata or {}
        return pads.Dataset if metadata.get(LOAD_AS) == "dataset" else pd.DataFrame
    return kind


def _loaded(store: TableStore, files: Sequence[str], kind: Any) -> object:
    if kind is Any:
        kind = pd.DataFrame
    dataset = _dataset(files, store.filesystem)
    if kind is pads.Dataset:
        return dataset
    if kind is pa.RecordBatchReader:
        return dataset.scanner().to_reader()
    if kind is pa.Table:
        return dataset.to_table()
    if kind is pd.DataFrame:
        return dataset.to_table().to_pandas()
    polars = sys.modules.get("polars")  # a Polars annotation cannot be there without the import
    if polars is not None and kind is polars.DataFrame:
        return polars.from_arrow(dataset.to_table())
    if polars is not None and kind is polars.LazyFrame:
        return polars.scan_pyarrow_dataset(dataset)
    raise ConfigError(
        f"a table cannot be loaded as {kind!r}; annotate the input with pandas.DataFrame, pyarrow.Table, "
        "pyarrow.dataset.Dataset, polars.DataFrame, polars.LazyFrame, or dict[str, one of these]"
    )


def _dataset(files: Sequence[str], filesystem: pafs.FileSystem | None) -> pads.Dataset:
    schema = None
    if len(files) > 1:
        schemas = [pq.read_schema(file, filesystem=filesystem) for file in files]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    return pads.dataset(list(files), schema=schema, format="parquet", filesystem=filesystem)
