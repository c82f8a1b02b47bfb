"""`batch-assets release`: a canceled backfill ends although the sensors are off."""

from __future__ import annotations

import pytest
from night_folder import Nights
from world import World

from batch_assets.cli import main
from batch_assets.dagster.hold import hold_needed

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
    pytest.mark.skipif(not hold_needed(), reason="this Dagster waits by itself: there is no hold to release"),
]


@pytest.fixture
def home(night_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DAGSTER_HOME", str(night_world.instance.root_directory))
    return night_world


def test_a_canceled_backfill_ends_without_the_sensors(
    nights: Nights, home: World, capfd: pytest.CaptureFixture[str]
) -> None:
    backfill = home.backfill(["tickets", "summarized"], nights.days)
    home.round(times=2)
    home.cancel(backfill)
    home.round(sensors=False, times=2)
    assert home.status(backfill) == "CANCELING"
    assert main(["release"]) == 0
    out = capfd.readouterr().out
    assert backfill in out
    assert "CANCELING" in out
    assert main(["release", backfill]) == 0
    assert "it was CANCELING" in capfd.readouterr().err
    home.round(sensors=False)
    assert home.status(backfill) == "CANCELED"
    assert main(["release"]) == 0
    assert "No backfill is held." in capfd.readouterr().err


def test_a_backfill_in_progress_is_released_by_force_only(
    nights: Nights, home: World, capfd: pytest.CaptureFixture[str]
) -> None:
    backfill = home.backfill(["tickets", "summarized"], nights.days)
    home.round(times=2)
    assert main(["release", backfill]) == 1
    assert "Cancel it in the Dagster UI first" in capfd.readouterr().err
    assert main(["release", "nosuch"]) == 1
    assert f"nothing holds nosuch; those held are {backfill}" in capfd.readouterr().err
    assert main(["release", backfill, "--force"]) == 0
    home.round(sensors=False, times=2)
    assert home.status(backfill) == "COMPLETED_FAILED"
    nights.emulator.advance(3601)
    home.round(times=4)  # the tables land all the same
    assert [len(nights.table("summarized", day)) for day in nights.days] == [4, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["release", "--store", "x"], "--store, --resubmit and --fail go with --shard"),
        (["release", "--shard", "x"], "--shard needs --store"),
        (["release", "b", "--shard", "x"], "not both"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert said in capfd.readouterr().err


def test_without_an_instance(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert main(["release"]) == 1
    assert "DAGSTER_HOME is not set" in capfd.readouterr().err
