"""Every kind of partitions, in one code location with a provider that has no key."""

from __future__ import annotations

import dagster as dg
import pandas as pd
import pytest
from night_folder import Nights

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
]


def test_every_kind_of_partitions(nights: Nights) -> None:
    with nights.world("kinds.py") as opened:
        opened.instance.add_dynamic_partitions("cities", ["Basel", "Łódź/1", "..", "Atlantis"])
        job = opened.repository().get_job("__ASSET_JOB")
        city = [dg.AssetKey("city")]
        atlantis = job.execute_in_process(instance=opened.instance, partition_key="Atlantis", asset_selection=city)
        opened.instance.delete_dynamic_partition("cities", "Atlantis")
        days = [f"2025-01-{day:02}" for day in range(6, 20)]
        backfills = [
            opened.backfill(["calls", "weekly"], None),
            opened.backfill(["by/region"], ["north", "west"]),
            opened.backfill(["city"], None),
            opened.backfill(["day_and_region"], ["2025-01-06|north", "2025-01-07|south"]),
            opened.backfill(["everything", "whole", "after"], None),
        ]
        opened.round(times=3)
        assert {opened.status(backfill) for backfill in backfills} == {"REQUESTED"}
        nights.emulator.advance(3601)
        for backfill in backfills:
            assert opened.until_ended(backfill) == "COMPLETED_SUCCESS", (opened.progress(backfill), opened.selections())
        assert len(opened.materializations("calls")) == len(days)
        assert set(opened.materializations("weekly")) == {"2025-01-06", "2025-01-13"}
        assert {figures["dagster/partition_row_count"] for figures in opened.materializations("weekly").values()} == {
            14
        }
        assert set(opened.materializations("city")) == {"Basel", "Łódź/1", ".."}
        assert len(opened.materializations("day_and_region")) == 2
        assert opened.materializations("whole")[None]["dagster/row_count"] == 2
        assert opened.materializations("after")
        tables = nights.folder / "store" / "tables"
        for week in (days[:7], days[7:]):
            rows = list(pd.read_parquet(tables / "weekly" / f"{week[0]}.parquet")["id"])
            assert rows == [f"{day}/{number}" for day in week for number in (1, 2)]
        assert (tables / "by" / "region" / "north.parquet").is_file()
        assert (tables / "day_and_region" / "2025-01-06" / "north.parquet").is_file()
        # The partition that is gone is given up by name.
        parked = opened.instance.get_run_by_id(atlantis.dagster_run.run_id)
        assert "'Atlantis' does not exist any more" in parked.tags["batch_assets/abandoned"]
        # The provider without a key says so in every tick, and stops nobody.
        polls = opened.ticks("batch_poll")
        assert {tick.status.value for tick in polls} <= {"SUCCESS", "SKIPPED"}
        assert any("A_KEY_THAT_NOBODY_SET" in (tick.skip_reason or "") for tick in polls)


def test_days_that_are_missing(nights: Nights) -> None:
    with nights.world("holes.py") as opened:
        days = ["2025-01-06", "2025-01-09"]
        assert opened.until_ended(opened.backfill(["calls"], days)) == "COMPLETED_SUCCESS"
        backfills = [opened.backfill(["weekly"], ["2025-01-06"]), opened.backfill(["whole"], None)]
        refused = opened.backfill(["strict"], ["2025-01-06"])
        opened.round(times=2)
        nights.emulator.advance(3601)
        for backfill in backfills:
            assert opened.until_ended(backfill) == "COMPLETED_SUCCESS"
        assert opened.until_ended(refused) == "COMPLETED_FAILED"
        for partition in ("weekly/2025-01-06", "whole"):
            assert list(pd.read_parquet(nights.folder / "store" / "tables" / f"{partition}.parquet")["id"]) == days
        assert nights.bought == 4
        # A user's own check runs with the run that lands the table, not with the one that was parked.
        evaluated = [
            (run.tags.get("batch_assets/resumes") is not None, entry.dagster_event.asset_check_evaluation_data)
            for run in opened.runs()
            for entry in opened.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        ]
        ((resumed, mine),) = [(resumed, one) for resumed, one in evaluated if one.check_name == "looked_at"]
        assert resumed
        assert mine.metadata["rows"].value == 2
