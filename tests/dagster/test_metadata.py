"""What a materialization says: figures, lineage, versions, and money that no two of them report."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleStatus,
    extract_data_version_from_entry,
)
from dagster._core.loader import LoadingContextForTest
from dagster._daemon.types import DaemonHeartbeat
from dagster._time import get_current_timestamp
from pydantic import BaseModel, Field

from batch_assets.dagster import BatchStore, OpenAIBatchResource, Upstream, batch_asset
from batch_assets.dagster.io_manager import store_tables
from batch_assets.dagster.parking import RESUMES_TAG
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError
from batch_assets.ledger import Ledger
from batch_assets.storage.local import LocalStore

DAYS = dg.StaticPartitionsDefinition(["mo", "tu", "we"])
KEY = dg.AssetKey("classified")
NEW = ("new_attempts", "new_input_tokens", "new_output_tokens", "new_cost_usd", "new_standard_usd", "new_saved_usd")

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


class Intent(BaseModel):
    intent: Literal["card", "refund"] = Field(description="What it is about")


ROWS: dict[str, list[dict[str, Any]]] = {}


def night(name: str, *, count: int = 3, broken: int = 0) -> None:
    texts = [None if row < broken else f"Where is card {row} of {name}?" for row in range(count)]
    ROWS[name] = [{"id": f"{name}-{row}", "text": text, "note": f"note {row}"} for row, text in enumerate(texts)]


def source() -> dg.AssetsDefinition:
    """The asset above."""

    @dg.asset(partitions_def=DAYS, io_manager_key="tables", backfill_policy=dg.BackfillPolicy.single_run())
    def queries(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
        return {day: pd.DataFrame(ROWS[day]) for day in context.partition_keys}

    return queries


def classified(prompt: Any = "What is it? {{ text }}", **options: Any) -> dg.AssetsDefinition:
    common: dict[str, Any] = {"provider": "openai", "model": "gpt-5-mini", "row_key": "id", "output_type": Intent}
    policy = dg.BackfillPolicy.single_run()

    @batch_asset(name="classified", prompt=prompt, partitions_def=DAYS, backfill_policy=policy, **{**common, **options})
    def asset(queries: Upstream) -> Any:
        return queries.batches()

    return asset


@dg.asset(partitions_def=DAYS, deps=[KEY])
def below() -> None: ...


class Runs:
    """Runs of the asset in one instance, over one store."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.folder, self.queries = instance, folder, source()

    def _resources(self, wait_seconds: float | None) -> dict[str, Any]:
        return {
            "openai": OpenAIBatchResource(),
            "batch_store": BatchStore(root=str(self.folder / "store"), wait_seconds=wait_seconds),
            "tables": store_tables,
            "io_manager": dg.FilesystemIOManager(base_dir=str(self.folder / "pickles")),
        }

    def __call__(
        self, *assets: dg.AssetsDefinition, days: str = "mo", wait_seconds: float | None = 30, **options: Any
    ) -> dg.ExecuteInProcessResult:
        first, _, last = days.partition("..")
        tags = options.pop("tags", {})
        if last:
            names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
            tags = {**tags, **dict(zip(names, (first, last), strict=True))}
        return dg.materialize(
            [self.queries, *assets],
            selection=list(assets),
            instance=self.instance,
            partition_key=None if last else first,
            tags=tags,
            resources=self._resources(wait_seconds),
            **options,
        )

    def events(self, *assets: dg.AssetsDefinition, **options: Any) -> dict[str | None, dict[str, Any]]:
        """Metadata by partition, without the prefix of ours."""
        result = self(*assets, **options)
        return {
            event.partition: {name.removeprefix("batch_assets/"): value.value for name, value in event.metadata.items()}
            for event in result.asset_materializations_for_node("classified")
        }

    def status(self, definition: dg.AssetsDefinition, key: dg.AssetKey = KEY, partition: str = "mo") -> StaleStatus:
        """What Dagster shows: fresh, stale, missing."""
        return self._resolver(definition).get_status(key, partition)

    def causes(self, definition: dg.AssetsDefinition) -> Any:
        """Why it is stale."""
        return self._resolver(definition).get_stale_causes(KEY, "mo")

    def _resolver(self, definition: dg.AssetsDefinition) -> CachingStaleStatusResolver:
        graph = dg.Definitions(
            assets=[self.queries, definition, below], resources=self._resources(None)
        ).resolve_asset_graph()
        return CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))

    def version(self, partition: str = "mo") -> str:
        """The data version that Dagster has."""
        records = dg.AssetRecordsFilter(asset_key=KEY, asset_partitions=[partition])
        (newest,) = self.instance.fetch_materializations(records, limit=1).records
        version = extract_data_version_from_entry(newest.event_log_entry)
        assert version is not None
        return version.value


@pytest.fixture
def runs(batch_emulator: Emulator, tmp_path: Path) -> Iterator[Runs]:
    (tmp_path / "home").mkdir()
    ROWS.clear()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield Runs(instance, tmp_path)


def test_figures_of_one_night(runs: Runs) -> None:
    night("mo", count=4, broken=1)
    assert runs(runs.queries).success
    (figures,) = runs.events(classified()).values()
    assert {name: figures[f"rows_{name}"] for name in ("succeeded", "errored", "invalid", "expired")} == {
        "succeeded": 3,
        "errored": 1,
        "invalid": 0,
        "expired": 0,
    }
    assert "| succeeded | 3 | 75.0% | " in figures["outcomes"]
    assert "| unrenderable | 1 | mo-0 |" in figures["errors"]
    assert figures["cost_usd"] > 0
    assert figures["saved_usd"] == pytest.approx(figures["standard_usd"] - figures["cost_usd"])
    assert len(figures["prompt_fingerprint"]) == len(figures["schema_fingerprint"]) == 16
    assert "preview" not in figures
    assert "Where is card" not in str(figures)
    columns = {column.name: column.description for column in figures["dagster/column_schema"].columns}
    assert columns["intent"] == "What it is about"
    types = {column.name: column.type for column in figures["dagster/column_schema"].columns}
    assert (types["text"], types["batch_outcome"]) == ("string", "string (categorical)")
    assert columns["batch_error"] == "Why it did not succeed"
    assert "](https://platform.openai.com/batches/" in figures["batches"]
    origin = {
        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for column, deps in figures["dagster/column_lineage"].deps_by_column.items()
    }
    assert origin == {
        "id": [("queries", "id")],
        "text": [("queries", "text")],
        "note": [("queries", "note")],
        "intent": [("queries", "text")],
    }

    def by_function(row: dict[str, Any]) -> str:
        return f"Mine: {row['note']}"

    (figures,) = runs.events(classified(by_function, preview_rows=2, output_columns=["text"])).values()
    deps = figures["dagster/column_lineage"].deps_by_column
    assert [dep.column_name for dep in deps["intent"]] == ["id", "note", "text"]
    assert set(deps) == {"id", "text", "intent"}
    assert figures["preview"].splitlines()[0] == "| id | text | intent | batch_outcome |"
    assert len(figures["preview"].splitlines()) == 4
    assert "Where is card 1" in figures["preview"]
    with pytest.raises(ConfigError, match="preview_rows"):
        classified(preview_rows=51)


def test_what_is_bought_once_is_reported_once_and_an_edited_prompt_is_stale(runs: Runs) -> None:
    night("mo")
    assert runs(runs.queries).success
    asset = classified()
    (first,) = runs.events(asset).values()
    assert first["new_cost_usd"] == first["cost_usd"] > 0
    assert runs(below).success
    assert runs.status(asset) is StaleStatus.FRESH
    version = runs.version()
    assert version == first["data_version"]

    (again,) = runs.events(asset).values()
    assert again["cost_usd"] == first["cost_usd"]  # what the table's plan has cost
    assert {again[name] for name in NEW} == {0}
    assert runs.version() == version
    assert runs.status(asset, below.key) is StaleStatus.FRESH  # the same table: nothing below has to run

    refresh = {"ops": {"classified": {"config": {"refresh": True}}}}
    (refreshed,) = runs.events(asset, run_config=refresh).values()
    assert refreshed["new_cost_usd"] == first["cost_usd"]
    assert refreshed["batches"] != first["batches"]
    assert runs.version() == version  # other batches, the same answers

    edited = classified("And now? {{ text }} {{ note }}")
    assert runs.status(edited) is StaleStatus.STALE
    (other,) = runs.events(edited).values()
    assert other["new_cost_usd"] == other["cost_usd"] > 0
    assert runs.status(edited) is StaleStatus.FRESH
    assert other["prompt_fingerprint"] != first["prompt_fingerprint"]
    assert other["schema_fingerprint"] == first["schema_fingerprint"]
    records = runs.instance.fetch_materializations(KEY, limit=10).records
    reported = sum(record.asset_materialization.metadata["batch_assets/new_attempts"].value for record in records)
    assert reported == 9


def test_each_partition_of_a_range_has_its_figures_and_the_run_one_version(runs: Runs) -> None:
    for day in ("mo", "tu", "we"):
        night(day)
    assert runs(runs.queries, days="mo..we").success
    asset = classified(preview_rows=1)
    first = runs.events(asset, days="mo..tu")
    assert {day: figures["preview"].splitlines()[2][:6] for day, figures in first.items()} == {
        "mo": "| mo-0",
        "tu": "| tu-0",
    }
    assert first["mo"]["data_version"] != first["tu"]["data_version"]
    assert all("dagster/column_lineage" in figures for figures in first.values())
    assert runs.version("mo") == runs.version("tu")
    night("tu", count=2)
    assert runs(runs.queries, days="tu").success
    again = runs.events(asset, days="mo..we")
    assert again["mo"]["data_version"] == first["mo"]["data_version"]
    assert again["tu"]["data_version"] != first["tu"]["data_version"]
    assert [again[day]["new_attempts"] for day in ("mo", "tu", "we")] == [0, 0, 3]


def test_a_table_that_an_older_definition_planned_lands_as_stale(runs: Runs, batch_emulator: Emulator) -> None:
    night("mo")
    assert runs(runs.queries).success
    runs.instance.add_daemon_heartbeat(DaemonHeartbeat(get_current_timestamp(), "SENSOR", None, None))
    batch_emulator.set_latency(3600)
    assert not runs.events(classified("The old one: {{ text }}"), wait_seconds=None)
    batch_emulator.advance(3601)
    (wait,) = Ledger.open(LocalStore(runs.folder / "store")).waits()
    edited = classified("The new one: {{ text }}")
    night("mo", count=5)
    assert runs(runs.queries).success  # the source has changed since
    (landed,) = runs.events(edited, tags={RESUMES_TAG: wait.wait_id}).values()
    assert landed["new_attempts"] == 3
    assert runs.status(edited) is StaleStatus.STALE
    batch_emulator.set_latency(0)
    old = classified("The old one: {{ text }}")
    assert [cause.category.name for cause in runs.causes(old)] == ["DATA"]
    (again,) = runs.events(old).values()
    assert again["new_attempts"] == 2
    assert runs.status(old) is StaleStatus.FRESH
