"""The checks of a batch asset: figures, thresholds, blocking, in one process and per partition of a range."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pandas as pd
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from pydantic import BaseModel

from batch_assets.dagster import BatchChecks, BatchStore, OpenAIBatchResource, Upstream, batch_asset, checks
from batch_assets.dagster.asset import spec_of
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError
from batch_assets.ledger import Ledger
from batch_assets.records import Calibration
from batch_assets.storage.local import LocalStore

DAYS = dg.DailyPartitionsDefinition("2025-01-01", end_date="2025-01-08")
RANGE = {"dagster/asset_partition_range_start": "2025-01-01", "dagster/asset_partition_range_end": "2025-01-03"}
COMMON: dict[str, Any] = {"provider": "openai", "model": "gpt-5-mini", "row_key": "id", "prompt": "{{ text.upper() }}"}
KEY = dg.AssetKey("classified")
ALL = {checks.ROWS, checks.SUCCESS, checks.VALID, checks.ESTIMATE}

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # backfill_policy of the tests' own assets


class Intent(BaseModel):
    intent: Literal["card", "refund"]


def rows(number: int, *, broken: int = 0) -> pd.DataFrame:
    """Rows, some of them without the text that the prompt needs."""
    texts = [None if row < broken else f"Where is card {row}?" for row in range(number)]
    return pd.DataFrame({"id": [f"r{row}" for row in range(number)], "text": texts})


def classified(night: pd.DataFrame | dict[str, pd.DataFrame], **options: Any) -> dg.AssetsDefinition:
    @batch_asset(name="classified", **{"output_type": Intent, **COMMON, **options})
    def asset(context: dg.AssetExecutionContext) -> Any:
        return night

    @batch_asset(name="classified", **{"output_type": Intent, **COMMON, **options})
    def by_day(queries: Upstream, context: dg.AssetExecutionContext) -> Any:
        assert isinstance(night, dict)
        assert queries.partition_keys is not None
        return night[queries.partition_keys[0]]

    return by_day if isinstance(night, dict) else asset


def below(*, partitions_def: dg.PartitionsDefinition[Any] | None = None) -> dg.AssetsDefinition:
    @dg.asset(name="below", deps=[KEY], partitions_def=partitions_def)
    def asset(context: dg.AssetExecutionContext) -> None:
        context.log.info("below ran")

    return asset


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def run(instance: dg.DagsterInstance, batch_emulator: Emulator, tmp_path: Path) -> Any:
    def materialize(*assets: Any, wait_seconds: float | None = 30, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(assets),
            instance=instance,
            raise_on_error=False,
            resources={
                "openai": OpenAIBatchResource(),
                "batch_store": BatchStore(root=str(tmp_path / "store"), wait_seconds=wait_seconds),
                "io_manager": dg.FilesystemIOManager(base_dir=str(tmp_path / "pickles")),
            },
            **options,
        )

    return materialize


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def figures(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def test_a_good_night_passes_every_check(run: Any, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = run(classified(rows(4), max_cost_usd=1, max_output_tokens=50))
    assert result.success
    found = evaluations(result)
    assert set(found) == ALL | {checks.BUDGET}
    assert all(evaluation.passed for evaluation in found.values()), found
    assert figures(found[checks.ROWS]) == {"planned_rows": 4, "rows": 4, "rows_succeeded": 4}
    assert figures(found[checks.SUCCESS])["success_rate"] == 1.0
    assert 0 < figures(found[checks.BUDGET])["cost_usd"] < 1
    assert figures(found[checks.ESTIMATE])["cost_deviation"] < 0
    materialization = instance.get_latest_materialization_event(KEY)
    assert materialization is not None
    assert {evaluation.target_materialization_data.run_id for evaluation in found.values()} == {materialization.run_id}
    assert not (tmp_path / "pickles").exists()  # checks have nothing to store

    again = evaluations(run(classified(rows(4), max_cost_usd=1, max_output_tokens=50)))
    assert figures(again[checks.ESTIMATE]) == figures(found[checks.ESTIMATE])  # the same plan, landed again


def test_a_cost_far_below_what_an_earlier_night_has_taught(run: Any, tmp_path: Path) -> None:
    asset = classified(rows(4))
    spec = spec_of(asset)
    assert spec is not None
    taught = Calibration(input_factor=1.0, output_tokens=5_000, requests=100)
    Ledger.open(LocalStore(tmp_path / "store")).record_calibration("classified", spec.code_version, taught)
    found = evaluations(run(asset))[checks.ESTIMATE]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert figures(found)["calibrated"] == 1
    assert figures(found)["cost_deviation"] < -0.9


def test_a_bad_night_warns_and_names_what_is_wrong(run: Any) -> None:
    result = run(classified(rows(4, broken=1)), below())
    assert result.success
    found = evaluations(result)
    assert not found[checks.SUCCESS].passed
    assert found[checks.SUCCESS].severity is dg.AssetCheckSeverity.WARN
    assert found[checks.SUCCESS].description == "3 of 4 rows succeeded; most of the others: unrenderable (1)"
    assert found[checks.ROWS].passed
    assert figures(found[checks.ROWS]) == {"planned_rows": 4, "rows": 4, "rows_errored": 1, "rows_succeeded": 3}


def test_responses_that_do_not_fit(run: Any, batch_emulator: Emulator) -> None:
    batch_emulator.arm("schema_violation", times=2)
    found = evaluations(run(classified(rows(4), max_attempts=1)))
    assert not found[checks.VALID].passed
    assert figures(found[checks.VALID])["invalid"] == 2


def test_a_blocking_check_keeps_what_is_below_from_running(run: Any) -> None:
    asset = classified(rows(4, broken=1), checks=BatchChecks(min_success_rate=0.9, blocking=True))
    result = run(asset, below())
    assert not result.success
    found = evaluations(result)
    assert found[checks.SUCCESS].severity is dg.AssetCheckSeverity.ERROR
    assert {event.step_key for event in result.get_step_success_events()} == set()
    assert result.asset_materializations_for_node("classified")  # the table is there, to be looked at
    lenient = classified(rows(4, broken=1), checks=BatchChecks(min_success_rate=0.75, blocking=True))
    assert run(lenient, below()).success


def test_an_empty_night(run: Any) -> None:
    found = evaluations(run(classified(rows(0).astype("str"))))
    assert all(evaluation.passed for evaluation in found.values())
    assert found[checks.ESTIMATE].description == "nothing was sent"


def test_without_checks(run: Any) -> None:
    asset = classified(rows(2), checks=None)
    assert not list(asset.check_specs)
    result = run(asset)
    assert result.success
    assert not evaluations(result)


def test_each_partition_of_a_range_has_its_results(run: Any, instance: dg.DagsterInstance) -> None:
    nights = {"2025-01-01": rows(4), "2025-01-02": rows(4, broken=2), "2025-01-03": rows(2)}

    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def queries() -> None: ...

    result = run(queries, classified(nights, partitions_def=DAYS), tags=RANGE)
    assert result.success
    found = {(one.check_name, one.partition): one for one in result.get_asset_check_evaluations()}
    assert set(found) == {(name, day) for name in ALL for day in nights}
    assert {key for key, evaluation in found.items() if not evaluation.passed} == {(checks.SUCCESS, "2025-01-02")}
    records = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, checks.SUCCESS), 10)
    assert {record.partition: record.status.name for record in records} == {
        "2025-01-01": "SUCCEEDED",
        "2025-01-02": "FAILED",
        "2025-01-03": "SUCCEEDED",
    }
    targets = {one.partition: one.target_materialization_data.storage_id for one in found.values()}
    assert len(set(targets.values())) == 3


def test_one_result_for_all_where_dagster_keeps_none_by_partition(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_PARTITIONED", False)  # as before Dagster 1.12
    nights = {"2025-01-01": rows(4), "2025-01-02": rows(4, broken=2), "2025-01-03": rows(2)}

    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def queries() -> None: ...

    found = evaluations(run(queries, classified(nights, partitions_def=DAYS), tags=RANGE))
    assert not found[checks.SUCCESS].passed
    assert "2 of 3 partitions passed; 2025-01-02: 2 of 4" in str(found[checks.SUCCESS].description)
    assert figures(found[checks.SUCCESS])["2025-01-02/success_rate"] == 0.5
    assert found[checks.ROWS].passed


@pytest.mark.parametrize("blocking", [False, True])
def test_a_parked_run_says_nothing_of_its_checks(
    run: Any, instance: dg.DagsterInstance, batch_emulator: Emulator, blocking: bool
) -> None:
    from dagster._daemon.types import DaemonHeartbeat
    from dagster._time import get_current_timestamp

    instance.add_daemon_heartbeat(DaemonHeartbeat(get_current_timestamp(), "SENSOR", None, None))
    batch_emulator.set_latency(3600)
    asset = classified(rows(4), checks=BatchChecks(blocking=blocking))
    result = run(asset, below(), wait_seconds=None)
    assert result.success
    assert not evaluations(result)
    assert not result.asset_materializations_for_node("below")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, checks.ROWS), 10)
    assert record.status is AssetCheckExecutionRecordStatus.PLANNED  # shown as skipped once the run has ended
    batch_emulator.advance(3601)
    landed = run(asset, below())
    assert landed.success
    assert {evaluation.passed for evaluation in evaluations(landed).values()} == {True}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_success_rate": 95}, "min_success_rate"),
        ({"min_valid_rate": -0.1}, "min_valid_rate"),
        ({"estimate_tolerance": -1}, "estimate_tolerance"),
        ({"severity": "fatal"}, "severity"),
        ({"blocking": True, "severity": "warn"}, "blocks only"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BatchChecks(**options)


def test_own_check_specs_are_refused() -> None:
    with pytest.raises(ConfigError, match="check_specs"):
        classified(rows(1), check_specs=[])
