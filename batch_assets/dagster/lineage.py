"""`dagster/column_lineage`: from which columns of the assets above each column of the table comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import TableColumnDep, TableColumnLineage

from batch_assets.schema import OutputSchema
from batch_assets.tables import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagster import AssetKey, DagsterInstance

    from batch_assets.records import Landing

Columns = frozenset[str] | None
"""The columns of an asset above; None where no materialization of it says."""


def columns_above(instance: DagsterInstance, keys: Iterable[AssetKey]) -> dict[AssetKey, Columns]:
    """What the newest materialization of each asset above says of its columns."""
    found: dict[AssetKey, Columns] = {}
    for key in keys:
        event = instance.get_latest_materialization_event(key)
        materialization = event.asset_materialization if event is not None else None
        schema = materialization.metadata.get("dagster/column_schema") if materialization is not None else None
        columns = getattr(getattr(schema, "schema", None), "columns", None)
        found[key] = None if columns is None else frozenset(column.name for column in columns)
    return found


def column_lineage(landing: Landing, above: Mapping[AssetKey, Columns]) -> TableColumnLineage | None:
    """A source column comes from the column of its name, every column of the output type from those of the prompt.

    A column that no asset above is known to have (the asset's function made it) has no origin; where there is one asset
    above that does not say what it has, everything is taken to be its. None where nothing has an origin.
    """
    made = OutputSchema.from_json(landing.output_schema).fields.names
    own = {*made, *OUTPUT.names}
    origins = {name: _origins(name, above) for name, _, _ in landing.columns if name not in own}
    prompt = [origin for name in landing.prompt_columns for origin in origins.get(name) or _origins(name, above)]
    origins |= {name: list(prompt) for name in made}
    given = {name: found for name, found in origins.items() if found}
    return TableColumnLineage(deps_by_column=given) if given else None


def _origins(name: str, above: Mapping[AssetKey, Columns]) -> list[TableColumnDep]:
    known = [key for key, columns in above.items() if columns is not None and name in columns]
    if not known and len(above) == 1:
        known = [key for key, columns in above.items() if columns is None]
    return [TableColumnDep(asset_key=key, column_name=name) for key in known]
