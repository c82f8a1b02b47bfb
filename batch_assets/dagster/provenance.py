"""Which versions of the assets above a plan was made from: a table that lands later says those, not the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster._core.definitions.data_version import (
    extract_data_version_from_entry,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

if TYPE_CHECKING:
    from dagster import AssetExecutionContext


def input_tags(context: AssetExecutionContext) -> dict[str, str]:
    """Dagster's tags for the newest materialization of each asset above. To be read before its rows are."""
    tags: dict[str, str] = {}
    for key in context.job_def.asset_layer.asset_graph.get(context.asset_key).parent_keys:
        for record in context.instance.fetch_materializations(key, limit=1).records:
            version = extract_data_version_from_entry(record.event_log_entry)
            if version is not None:
                tags[get_input_event_pointer_tag(key)] = str(record.storage_id)
                tags[get_input_data_version_tag(key)] = version.value
    return tags
