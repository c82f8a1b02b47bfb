"""Test your own batch asset: one night against the emulator, in this process, offline and for free."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from dagster import AssetKey, AssetsDefinition, DagsterInstance, materialize

from batch_assets.dagster.asset import spec_of
from batch_assets.dagster.providers import (
    AnthropicBatchResource,
    BatchProviderResource,
    GeminiBatchResource,
    MistralBatchResource,
    OpenAIBatchResource,
    VertexBatchResource,
)
from batch_assets.dagster.store import STORE_KEY, BatchStore
from batch_assets.dagster.upstream import GIVEN_ROWS
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    from batch_assets.provider_contract import DrivenContract, ProviderContract

__all__ = ["DrivenContract", "Night", "ProviderContract", "run_night"]

_BY_KEY: Mapping[str, Callable[[], BatchProviderResource]] = {
    "openai": OpenAIBatchResource,
    "anthropic": AnthropicBatchResource,
    "gemini": GeminiBatchResource,
    "vertex": partial(VertexBatchResource, gcs_folder="gs://bucket"),
    "mistral": MistralBatchResource,
}
"""What an asset's provider is by its key alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What came out."""

    table: pa.Table
    """The landed table."""
    metadata: dict[str, Any]
    """The materialization's metadata: cost, tokens, outcomes, under `batch_assets/...`."""
    requests: int
    """Requests that the provider would have billed."""

    @property
    def frame(self) -> pd.DataFrame:
        """The landed table as a pandas DataFrame."""
        return self.table.to_pandas()


def run_night(
    asset: AssetsDefinition,
    rows: object,
    *,
    partition_key: str | None = None,
    resources: Mapping[str, Any] | None = None,
    emulator: Emulator | None = None,
    timeout_seconds: float = 60.0,
) -> Night:
    """Plan, submit, wait and land one partition of a batch asset, and return its table.

    `rows` are those of the asset above, in any form that `Upstream` takes; a dict by asset key where there are several.
    `resources` are those that the function itself asks for, and the provider's where its key is not `openai`,
    `anthropic`, `gemini`, `vertex` or `mistral`, or where it has settings: it is sent to the emulator, without its
    secrets. `emulator` is one that runs already, with faults armed
    say; else one is started, whose batches complete at once. Raises what the run raises.
    """
    spec = spec_of(asset)
    if spec is None:
        raise ConfigError("run_night takes a batch asset, as batch_asset or build_batch_asset make it")
    given = _given(asset, rows)
    if emulator is None:
        with Emulator(latency_seconds=0) as started:
            return _run(asset, given, partition_key, resources or {}, started, timeout_seconds=timeout_seconds)
    return _run(asset, given, partition_key, resources or {}, emulator, timeout_seconds=timeout_seconds)


def _run(
    asset: AssetsDefinition,
    given: Mapping[AssetKey, object],
    partition_key: str | None,
    resources: Mapping[str, Any],
    emulator: Emulator,
    *,
    timeout_seconds: float,
) -> Night:
    spec = spec_of(asset)
    assert spec is not None
    before = _billed(emulator)
    token = GIVEN_ROWS.set(given)
    try:
        with tempfile.TemporaryDirectory() as folder, DagsterInstance.ephemeral() as instance:
            store = BatchStore(root=folder, wait_seconds=timeout_seconds)
            provider = _resource(spec.provider, resources).emulated(emulator.addresses, f"{folder}/realtime")
            result = materialize(
                [asset],
                partition_key=partition_key,
                instance=instance,
                resources={STORE_KEY: store, **resources, spec.provider: provider},
            )
            (event,) = result.asset_materializations_for_node(asset.node_def.name)
            metadata = {name: value.value for name, value in event.metadata.items()}
            table = pq.read_table(Path(str(metadata["dagster/uri"])), partitioning=None)
    finally:
        GIVEN_ROWS.reset(token)
    return Night(table=table, metadata=metadata, requests=_billed(emulator) - before)


def _resource(key: str, resources: Mapping[str, Any]) -> BatchProviderResource:
    """The resource of the asset's provider. Raises ConfigError."""
    given = resources.get(key)
    if isinstance(given, BatchProviderResource):
        return given
    if given is not None:
        raise ConfigError(f"the resource {key!r} is a {type(given).__name__}, which is no provider's")
    if key not in _BY_KEY:
        raise ConfigError(
            f"the asset's provider is the resource {key!r}; give it, run_night(..., resources={{{key!r}: ...}}): it is "
            "sent to the emulator"
        )
    return _BY_KEY[key]()


def _given(asset: AssetsDefinition, rows: object) -> dict[AssetKey, object]:
    above = {dep.asset_key for spec in asset.specs for dep in spec.deps}
    if len(above) == 1 and not isinstance(rows, Mapping):
        return dict.fromkeys(above, rows)
    if not isinstance(rows, Mapping):
        names = sorted(key.to_user_string() for key in above)
        raise ConfigError(f"the asset has {len(above)} assets above it; give a dict with the rows of each: {names}")
    given = {AssetKey.from_user_string(str(key)): value for key, value in rows.items()}
    if set(given) != above:
        names = sorted(key.to_user_string() for key in above)
        raise ConfigError(f"the rows are for {sorted(map(str, rows))}; the assets above are {names}")
    return given


def _billed(emulator: Emulator) -> int:
    return sum(int(provider["requests"]) for provider in emulator.bill().values())


def __getattr__(name: str) -> Any:
    if name in {"DrivenContract", "ProviderContract"}:
        from batch_assets import provider_contract  # noqa: PLC0415  # needs pytest, the rest does not

        return getattr(provider_contract, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
