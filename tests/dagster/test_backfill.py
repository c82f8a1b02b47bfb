"""Backfills through Dagster's own daemons, over a store on disk and the emulator."""

from __future__ import annotations

import pytest
from night_folder import Nights, write_night
from world import World

from batch_assets.dagster.hold import hold_needed

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
]

ALL = ["tickets", "summarized", "classified", "rated", "digest"]


def test_chain_and_diamond_over_three_nights(nights: Nights, night_world: World) -> None:
    backfill = night_world.backfill(ALL, nights.days)
    night_world.round(times=3)
    assert night_world.status(backfill) == "REQUESTED"
    assert nights.bought == 0
    nights.emulator.advance(3601)
    night_world.round(times=2)
    assert night_world.progress(backfill)["summarized"] == {"MATERIALIZED": 3}
    nights.emulator.advance(3601)
    assert night_world.until_ended(backfill) == "COMPLETED_SUCCESS"

    whole = "[2025-01-01..2025-01-03] SUCCESS"
    assert night_world.selections() == [
        f"classified,digest,rated,summarized,tickets {whole}",
        *(["batch_assets_waiting [] SUCCESS"] if hold_needed() else []),
        "batch_advance [] SUCCESS",
        f"classified,digest,rated,summarized {whole}",
        "batch_advance [] SUCCESS",
        f"classified,digest {whole}",
    ]
    assert nights.bought == 3 * 4 * 3  # rows, days, batch assets
    assert nights.reads() == 3  # each night once, by the planning run
    for day in nights.days:
        table = nights.table("classified", day)
        assert list(table["id"]) == [f"{day}/{number}" for number in range(4)]
        assert set(table["batch_outcome"]) == {"succeeded"}
        assert list(nights.table("digest", day).columns) == ["id", "text", "intent", "mood"]
    metadata = night_world.materializations("classified")
    assert set(metadata) == set(nights.days)
    assert {figures["dagster/partition_row_count"] for figures in metadata.values()} == {4}
    assert all(figures["batch_assets/cost_usd"] > 0 for figures in metadata.values())
    assert {tick.status.value for tick in night_world.ticks("batch_poll")} <= {"SUCCESS", "SKIPPED"}

    again = night_world.backfill(["classified"], nights.days[:2])
    assert night_world.until_ended(again) == "COMPLETED_SUCCESS"
    assert nights.bought == 3 * 4 * 3  # nothing changed, nothing is sent


def test_a_sensor_that_starts_late_and_a_source_that_changed_meanwhile(nights: Nights) -> None:
    with nights.world(code_server=True) as first:
        backfill = first.backfill(["tickets", "summarized"], nights.days)
        first.round(sensors=False, times=3)
        assert nights.emulator.bill() == {} or nights.bought == 0
    for day in nights.days:
        write_night(nights.folder, day, ["something else"])
    (nights.folder / "store" / "tables" / "tickets" / "2025-01-01.parquet").unlink()
    nights.emulator.advance(3601)
    with nights.world(code_server=True) as second:  # the daemons and the code start again, a night later
        second.round(sensors=False)
        assert second.status(backfill) == "REQUESTED"
        assert second.until_ended(backfill) == "COMPLETED_SUCCESS"
    assert nights.reads() == 3
    assert [len(nights.table("summarized", day)) for day in nights.days] == [4, 4, 4]
    assert nights.bought == 12


def test_one_refused_night_of_three_fails_alone(nights: Nights, night_world: World) -> None:
    write_night(nights.folder, "2025-01-02", ["expensive " * 9000] * 1 + [f"much {n} " * 9000 for n in range(12)])
    backfill = night_world.backfill(["tickets", "rated"], nights.days)
    night_world.round(times=2)
    nights.emulator.advance(3601)
    assert night_world.until_ended(backfill) == "COMPLETED_FAILED"
    assert night_world.progress(backfill)["rated"] == {"MATERIALIZED": 2, "FAILED": 1}
    assert nights.bought == 8
    (failed,) = [run for run in night_world.runs() if run.status.value == "FAILURE"]
    assert failed.tags["dagster/partition"] == "2025-01-02"


def test_one_night_of_three_that_fails_a_blocking_check_fails_alone(nights: Nights, night_world: World) -> None:
    write_night(nights.folder, "2025-01-02", [None, None, "My card is lost", "My card is lost"])
    write_night(nights.folder, "2025-01-03", [None, "My card is lost", "Where is it?", "Where?"])  # just good enough
    backfill = night_world.backfill(["tickets", "rated", "foot"], nights.days)
    night_world.round(times=2)
    nights.emulator.advance(3601)
    assert night_world.until_ended(backfill) == "COMPLETED_FAILED"
    assert night_world.progress(backfill)["rated"] == {"MATERIALIZED": 3}  # the table is there, to be looked at
    assert night_world.progress(backfill)["foot"] == {"MATERIALIZED": 2, "FAILED": 1}
    (failed,) = [run for run in night_world.runs() if run.status.value == "FAILURE"]
    assert failed.tags["dagster/partition"] == "2025-01-02"
    # Again: nothing is sent, all is settled at once, and still that night alone fails.
    again = night_world.backfill(["rated", "foot"], nights.days)
    assert night_world.until_ended(again) == "COMPLETED_FAILED"
    assert night_world.progress(again)["foot"] == {"MATERIALIZED": 2, "FAILED": 1}
    assert nights.bought == 8


def test_one_night_whose_source_is_missing_fails_alone(nights: Nights, night_world: World) -> None:
    backfill = night_world.backfill(["tickets"], nights.days)
    assert night_world.until_ended(backfill) == "COMPLETED_SUCCESS"
    (nights.folder / "store" / "tables" / "tickets" / "2025-01-02.parquet").unlink()
    backfill = night_world.backfill(["rated"], nights.days)
    night_world.round(times=2)
    nights.emulator.advance(3601)
    assert night_world.until_ended(backfill) == "COMPLETED_FAILED"
    assert night_world.progress(backfill)["rated"] == {"MATERIALIZED": 2, "FAILED": 1}
    # The source is there again: only that night is bought.
    again = night_world.backfill(["tickets", "rated"], ["2025-01-02"])
    night_world.round(times=2)
    nights.emulator.advance(3601)
    assert night_world.until_ended(again) == "COMPLETED_SUCCESS"
    assert nights.bought == 12


def test_a_canceled_backfill_cancels_its_batches_and_leaves_those_that_others_want(
    nights: Nights, night_world: World
) -> None:
    assert night_world.until_ended(night_world.backfill(["tickets"], nights.days)) == "COMPLETED_SUCCESS"
    canceled = night_world.backfill(["rated"], nights.days)
    night_world.round(times=2)
    kept = night_world.backfill(["rated"], nights.days[:1])
    night_world.round(times=2)
    night_world.cancel(canceled)
    night_world.round(times=3)
    assert night_world.status(canceled) == "CANCELED"
    assert night_world.status(kept) == "REQUESTED"
    nights.emulator.advance(3601)
    assert night_world.until_ended(kept) == "COMPLETED_SUCCESS"
    assert nights.bought == 4


def test_a_canceled_backfill_keeps_what_had_finished(nights: Nights, night_world: World) -> None:
    day = nights.days[:1]
    assert night_world.until_ended(night_world.backfill(["tickets"], day)) == "COMPLETED_SUCCESS"
    nights.emulator.arm("stuck", fraction=0.5)
    canceled = night_world.backfill(["rated"], day)
    night_world.round(times=2)
    nights.emulator.advance(3601)
    night_world.cancel(canceled)
    night_world.round(times=3)
    assert night_world.status(canceled) == "CANCELED"
    nights.emulator.clear_faults()
    again = night_world.backfill(["rated"], day)
    for _ in range(2):  # the provider takes its time to cancel; then what is missing is bought
        night_world.round(times=2)
        nights.emulator.advance(3601)
    assert night_world.until_ended(again) == "COMPLETED_SUCCESS"
    table = nights.table("rated", day[0])
    assert sum(table["batch_cached"]) == 2
    assert set(table["batch_outcome"]) == {"succeeded"}
    assert nights.bought == 4


@pytest.mark.parametrize("canceled", ["yes", "no"])
def test_a_run_that_is_stopped_while_it_plans(nights: Nights, monkeypatch: pytest.MonkeyPatch, canceled: str) -> None:
    """Canceled: nothing is sent any more. Interrupted by its machine: what was planned is sent, and used later."""
    monkeypatch.setenv("CANCELED", canceled)
    with nights.world("interrupted.py") as opened:
        backfill = opened.backfill(["answered"], None)
        opened.round(times=6)
        assert opened.status(backfill) == ("CANCELED" if canceled == "yes" else "COMPLETED_FAILED")
        nights.emulator.advance(3601)
        opened.round(times=2)
        assert nights.bought == (0 if canceled == "yes" else 1)
        again = opened.backfill(["answered"], None)
        opened.round(times=2)
        nights.emulator.advance(3601)
        assert opened.until_ended(again) == "COMPLETED_SUCCESS"
        assert nights.bought == 3


def test_a_run_for_each_partition(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTS_AT_ONCE", "1")
    with nights.world() as opened:
        backfill = opened.backfill(["tickets", "summarized", "classified"], nights.days)
        for _ in range(2):
            opened.round(times=2)
            assert opened.status(backfill) == "REQUESTED"
            nights.emulator.advance(3601)
        assert opened.until_ended(backfill) == "COMPLETED_SUCCESS"
        assert nights.bought == 24
        assert all(".." not in line for line in opened.selections())


@pytest.mark.parametrize("late", ["summarized", "rated"])
def test_the_foot_of_a_diamond_runs_once_with_the_last(late: str, nights: Nights, night_world: World) -> None:
    """Both batches are sent by one run; the provider takes a day longer for one of them."""
    day = nights.days[:1]
    assert night_world.until_ended(night_world.backfill(["tickets"], day)) == "COMPLETED_SUCCESS"
    early = "rated" if late == "summarized" else "summarized"
    # What another run buys meanwhile is shared, and is settled first.
    first = night_world.backfill([early], day)
    night_world.round()
    nights.emulator.set_latency(90_000)
    backfill = night_world.backfill(["summarized", "rated", "foot"], day)
    night_world.round(times=2)
    nights.emulator.advance(3601)
    night_world.round(times=3)
    assert night_world.status(first) == "COMPLETED_SUCCESS"
    assert night_world.progress(backfill)[early] == {"MATERIALIZED": 1}
    assert not (nights.folder / "foot.txt").exists()
    assert night_world.status(backfill) == "REQUESTED"
    nights.emulator.advance(90_000)
    assert night_world.until_ended(backfill) == "COMPLETED_SUCCESS"
    assert (nights.folder / "foot.txt").read_text() == "ran\n"
    assert night_world.selections()[-1] == f"foot,{late} [2025-01-01] SUCCESS"
    assert nights.bought == 8


def test_hold_off(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTS_HOLD", "off")
    with nights.world() as opened:
        backfill = opened.backfill(["tickets", "summarized"], nights.days)
        opened.round(times=4)
        assert opened.status(backfill) == ("COMPLETED_FAILED" if hold_needed() else "REQUESTED")
        nights.emulator.advance(3601)
        opened.round(times=4)
        assert [len(nights.table("summarized", day)) for day in nights.days] == [4, 4, 4]
        assert all(run.status.value == "SUCCESS" for run in opened.runs())
