"""The end of a batch asset's run: tables published, materializations with their figures and versions, checks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from dagster import AssetExecutionContext, AssetMaterialization, DataVersion, Failure, MaterializeResult
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG

from batch_assets.dagster.checks import BatchChecks, evaluate
from batch_assets.dagster.lineage import column_lineage, columns_above
from batch_assets.dagster.metadata import landing_metadata
from batch_assets.dagster.reported import reported_generations
from batch_assets.engine import AssetSpec, collect, spent_since
from batch_assets.tables import OUTPUT, TableStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dagster import AssetKey

    from batch_assets.ledger import Ledger
    from batch_assets.records import Landing, PlanRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Landings:
    """What the landing of some partitions of one batch asset needs."""

    context: AssetExecutionContext
    spec: AssetSpec
    above: Sequence[AssetKey]
    """The assets whose rows the batch asset reads."""
    tables: TableStore
    ledger: Ledger
    console_url: Callable[[str], str | None]
    realtime: bool
    """The provider has no batch API."""
    checks: BatchChecks | None
    preview_rows: int
    provenance: Mapping[str, str]
    """Tags that say what the plans were made from."""

    def land(self, refs: Sequence[PlanRef]) -> Iterator[Any]:
        """Publish the tables. One that fails in a range does not take the others' materializations with it."""
        landings: list[Landing] = []
        failed: dict[str | None, Exception] = {}
        for ref in refs:
            try:
                landings.append(collect(self.ledger, self.tables, ref))
            except Exception as error:
                if len(refs) == 1:
                    raise
                self.context.log.exception(f"{self.spec.asset}: {ref.partition} did not land: {error}")
                failed[ref.partition] = error
        metadata = self._metadata(landings)
        if failed:
            for landing, figures in zip(landings, metadata, strict=True):
                self.context.log_event(self._event(landing, figures))
            yield from self._evaluated(landings)
            raise Failure(
                f"{len(failed)} of {len(refs)} partitions did not land: "
                + "; ".join(f"{partition}: {error}" for partition, error in list(failed.items())[:5])
            )
        if len(refs) == 1:
            yield MaterializeResult(
                metadata=metadata[0], data_version=_data_version(landings), tags=self._tags(landings)
            )
        else:
            for landing, figures in zip(landings, metadata, strict=True):
                self.context.add_asset_metadata(figures, partition_key=landing.ref.partition)
            yield MaterializeResult(data_version=_data_version(landings), tags=self._tags(landings))
        yield from self._evaluated(landings)

    def _evaluated(self, landings: Sequence[Landing]) -> Iterator[Any]:
        if self.checks is not None:
            yield from evaluate(self.context, self.checks, landings, self.spec.max_cost_usd)

    def _metadata(self, landings: Sequence[Landing]) -> list[dict[str, Any]]:
        instance, ledger = self.context.instance, self.ledger
        above = columns_above(instance, self.above)
        partitions = [landing.ref.partition for landing in landings]
        reported = reported_generations(instance, self.context.asset_key, partitions, ledger.name) if landings else {}
        return [
            landing_metadata(
                landing,
                new=spent_since(ledger, landing.ref, reported.get(landing.ref.partition, 0)),
                ledger=ledger.name,
                partitioned=landing.ref.partition is not None,
                realtime=self.realtime,
                console_url=self.console_url,
                lineage=column_lineage(landing, above),
                preview=self._preview(landing.ref),
            )
            for landing in landings
        ]

    def _preview(self, ref: PlanRef) -> list[dict[str, Any]]:
        """The first rows of the table, without what batch_assets added but for the outcome."""
        if not self.preview_rows:
            return []
        file = self.tables.file(ref.asset, ref.partition)
        with pq.ParquetFile(file, filesystem=self.tables.filesystem) as table:
            added = set(OUTPUT.names) - {"batch_outcome"}
            columns = [name for name in table.schema_arrow.names if name not in added]
            first = next(table.iter_batches(batch_size=self.preview_rows, columns=columns), None)
        return [] if first is None else list(first.to_pylist())

    def _event(self, landing: Landing, figures: dict[str, Any]) -> AssetMaterialization:
        tags = {
            **self.provenance,
            DATA_VERSION_TAG: landing.data_version,
            CODE_VERSION_TAG: landing.code_version,
        }
        return AssetMaterialization(
            self.context.asset_key, partition=landing.ref.partition, metadata=figures, tags=tags
        )

    def _tags(self, landings: Sequence[Landing]) -> dict[str, str]:
        """What the plans were made from, and by an older definition its version: Dagster shows the table as stale."""
        older = [landing.code_version for landing in landings if landing.code_version != self.spec.code_version]
        return {**self.provenance, **({CODE_VERSION_TAG: older[0]} if older else {})}


def _data_version(landings: Sequence[Landing]) -> DataVersion:
    """Of the one table; in a run over several partitions, for which Dagster takes one, of all of them together."""
    if len(landings) == 1:
        return DataVersion(landings[0].data_version)
    versions = sorted(f"{landing.ref.partition}={landing.data_version}" for landing in landings)
    return DataVersion(hashlib.sha256("\n".join(versions).encode()).hexdigest()[:32])
