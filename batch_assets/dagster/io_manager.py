"""Parquet tables for the assets around a batch asset: loaded by type annotation, written atomically.

Layout: `<base>/<asset key...>/<partition>.parquet`, the same for batch assets and for ordinary ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from dagster import ConfigurableIOManager, InitResourceContext, InputContext, OutputContext, TableColumn, TableSchema
from dagster import io_manager as dagster_io_manager
from pydantic import Field

from batch_assets.dagster.resources import STORE_KEY
from batch_assets.dagster.rows import record_batches
from batch_assets.dagster.upstream import LOAD_AS
from batch_assets.errors import ConfigError, InputError
from batch_assets.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLES_KEY = "batch_tables"
"""Resource key under which `batch_definitions` gives this IO manager to ordinary assets."""
OWN_TABLES_KEY = "batch_assets_tables"
"""Resource key that batch assets bring with them."""


class ParquetIOManager(ConfigurableIOManager):
    """Loads tables as the annotation asks: pandas or Polars DataFrame, pyarrow Table or Dataset, or a dict of these by
    partition. Writes what an asset returns (a table in any of these forms, or a dict of them by partition)."""

    base: str = Field(description="Folder of the tables.")

    def load_input(self, context: InputContext) -> object:
        """One partition, a range or all, in the order of the partitions. Raises InputError naming what is missing."""
        files = self._files(context)
        wanted = _wanted(context)
        if get_origin(wanted) is dict:
            kind = get_args(wanted)[1]
            return {partition: _loaded([file], kind) for partition, file in files.items()}
        return _loaded(list(files.values()), wanted)

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
        rows = size = 0
        schema = pa.schema([])
        for partition in partitions:
            path, schema, written = self._write(asset, partition, tables[partition])
            rows += written
            size += path.stat().st_size
        context.add_output_metadata(_written(rows, size, schema, str(path), partitioned=partitions != [None]))

    def _write(self, asset: str, partition: str | None, value: object) -> tuple[Path, pa.Schema, int]:
        store = TableStore(self.base)
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
            with scratch.open("rb") as written:
                os.fsync(written.fileno())
            path = Path(store.path(asset, partition))
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(path)
        return path, first.schema, rows

    def _files(self, context: InputContext) -> dict[str | None, str]:
        store = TableStore(self.base)
        asset = "/".join(context.asset_key.path)
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else [None]
        files = {partition: store.path(asset, partition) for partition in partitions}
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
    return ParquetIOManager(base=getattr(context.resources, STORE_KEY).table_store().root)


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


def _loaded(files: Sequence[str], kind: Any) -> object:
    if kind is Any:
        kind = pd.DataFrame
    dataset = _dataset(files)
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


def _dataset(files: Sequence[str]) -> pads.Dataset:
    if len(files) == 1:
        return pads.dataset(files[0], format="parquet")
    schemas = [pq.read_schema(file) for file in files]
    return pads.dataset(list(files), format="parquet", schema=pa.unify_schemas(schemas, promote_options="permissive"))


def _written(rows: int, size: int, schema: pa.Schema, path: str, *, partitioned: bool) -> dict[str, Any]:
    columns = [TableColumn(name=field.name, type=str(field.type)) for field in schema]
    return {
        "dagster/partition_row_count" if partitioned else "dagster/row_count": rows,
        "dagster/uri": path,
        "dagster/column_schema": TableSchema(columns=columns),
        "batch_assets/size_bytes": size,
    }
