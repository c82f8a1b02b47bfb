"""What earlier materializations have reported already, so that none reports the same money twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import AssetRecordsFilter, DagsterEventType

from batch_assets.dagster.metadata import GENERATION, LEDGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster import AssetKey, DagsterInstance, EventLogRecord


def reported_generations(
    instance: DagsterInstance, key: AssetKey, partitions: Sequence[str | None], ledger: str
) -> dict[str | None, int]:
    """The generation that each partition's newest materialization landed; those of other stores left out."""
    found = {}
    for record in latest_materializations(instance, key, partitions):
        materialization = record.asset_materialization
        if materialization is None:
            continue
        figures = {name: materialization.metadata.get(name) for name in (GENERATION, LEDGER)}
        store, generation = (getattr(figures[name], "value", None) for name in (LEDGER, GENERATION))
        if store == ledger and isinstance(generation, int):
            found[record.partition_key] = generation
    return found


def latest_materializations(
    instance: DagsterInstance, key: AssetKey, partitions: Sequence[str | None]
) -> Sequence[EventLogRecord]:
    """The newest materialization of each of these partitions that has one."""
    keys = {partition for partition in partitions if partition is not None}
    if not keys:
        return instance.fetch_materializations(key, limit=1).records
    storage_ids = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, keys
    )
    if not storage_ids:
        return []
    wanted = AssetRecordsFilter(asset_key=key, storage_ids=list(storage_ids.values()))
    return instance.fetch_materializations(wanted, limit=len(storage_ids)).records
