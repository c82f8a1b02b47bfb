"""Backfills of any selection: assets alone, ranges with holes, some nights at once, thirty of them with a bad one."""

from __future__ import annotations

import pytest
from night_folder import Nights, write_night
from world import World

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
]


def finished(nights: Nights, world: World, assets: list[str], days: list[str]) -> str:
    """Launch a backfill, let the provider's hour pass, and wait for the end."""
    backfill = world.backfill(assets, days)
    world.round(times=2)
    nights.emulator.advance(3601)
    world.until_ended(backfill)
    return backfill


def test_a_range_with_holes_and_each_asset_alone(nights: Nights, night_world: World) -> None:
    days = ["2025-01-01", "2025-01-02", "2025-01-04"]
    write_night(nights.folder, "2025-01-04", ["Where is my card?", "I lost it"])
    world = night_world
    sources = world.backfill(["tickets"], days)
    assert world.until_ended(sources) == "COMPLETED_SUCCESS"
    batches = finished(nights, world, ["summarized", "rated"], days)
    assert world.status(batches) == "COMPLETED_SUCCESS"
    assert world.progress(batches)["summarized"] == {"MATERIALIZED": 3}
    assert [len(nights.table("summarized", day)) for day in days] == [4, 4, 2]
    assert nights.bought == 20
    below = world.backfill(["foot"], days)
    assert world.until_ended(below) == "COMPLETED_SUCCESS"
    again = world.backfill(["rated", "foot"], days)
    assert world.until_ended(again) == "COMPLETED_SUCCESS"
    assert nights.bought == 20
    assert not (nights.folder / "store" / "tables" / "summarized" / "2025-01-03.parquet").exists()


def test_two_nights_a_run(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTS_AT_ONCE", "2")
    days = [*nights.days, "2025-01-04", "2025-01-05"]
    for day in days[3:]:
        write_night(nights.folder, day, ["Where is my card?"])
    with nights.world() as world:
        backfill = finished(nights, world, ["tickets", "summarized"], days)
        assert world.status(backfill) == "COMPLETED_SUCCESS"
        assert world.progress(backfill)["summarized"] == {"MATERIALIZED": 5}
    # The text of the last two nights is the same, and each night is a plan of its own.
    assert [len(nights.table("summarized", day)) for day in days] == [4, 4, 4, 1, 1]
    assert nights.bought == 14


def test_one_bad_night_of_thirty_fails_alone_and_is_bought_alone(nights: Nights, night_world: World) -> None:
    days = [f"2025-01-{day:02}" for day in range(1, 31)]
    for day in days:
        write_night(nights.folder, day, [f"My card of {day} has not arrived"])
    write_night(nights.folder, "2025-01-17", [f"much {number} " * 9000 for number in range(14)])  # over budget
    backfill = finished(nights, night_world, ["tickets", "rated"], days)
    assert night_world.status(backfill) == "COMPLETED_FAILED"
    assert night_world.progress(backfill)["rated"] == {"MATERIALIZED": 29, "FAILED": 1}
    assert nights.bought == 29
    write_night(nights.folder, "2025-01-17", ["My card has not arrived"])
    again = finished(nights, night_world, ["tickets", "rated"], ["2025-01-17"])
    assert night_world.status(again) == "COMPLETED_SUCCESS"
    assert nights.bought == 30


def test_a_night_with_failed_requests_sends_those_again_and_no_others(nights: Nights, night_world: World) -> None:
    day = nights.days[:1]
    nights.emulator.arm("request_error", contains="My card 2", times=3)  # in each of the three attempts
    first = finished(nights, night_world, ["tickets", "summarized"], day)
    for _ in range(2):  # the second attempt, and the third
        night_world.round(times=2)
        nights.emulator.advance(3601)
    assert night_world.until_ended(first) == "COMPLETED_SUCCESS"
    outcomes = nights.table("summarized", day[0])["batch_outcome"].tolist()
    assert outcomes == ["succeeded", "succeeded", "errored", "succeeded"]
    assert nights.bought == 3
    again = finished(nights, night_world, ["summarized"], day)
    assert night_world.status(again) == "COMPLETED_SUCCESS"
    assert set(nights.table("summarized", day[0])["batch_outcome"]) == {"succeeded"}
    assert nights.bought == 4
