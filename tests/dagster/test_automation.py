"""What starts a night by itself: a schedule, automation conditions; each ends with a table."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from night_folder import Nights
from world import World

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "yaml_project"


def runs_of(opened: World, asset: str) -> list[str]:
    return [line for line in opened.selections() if asset in line]


def test_conditions(nights: Nights) -> None:
    with nights.world("automation.py") as opened:
        before = datetime(2026, 11, 28, 2, 59, tzinfo=UTC)
        opened.automation(before)
        opened.round()
        assert opened.runs() == []
        opened.materialize("messages")
        opened.automation(before + timedelta(seconds=30))
        opened.round(times=2)
        assert runs_of(opened, "answers") == ["answers,report [] SUCCESS"]  # parked
        assert runs_of(opened, "moods") == []
        opened.automation(before + timedelta(seconds=45))  # what is parked is not requested again
        opened.automation(before + timedelta(minutes=2))  # 03:00 has passed
        opened.materialize("messages")
        opened.automation(before + timedelta(minutes=3))
        opened.round(times=2)
        nights.emulator.advance(3601)
        opened.round(times=4)
        tables = nights.folder / "store" / "tables"
        assert list(pd.read_parquet(tables / "answers.parquet")["id"]) == ["a", "b"]
        assert list(pd.read_parquet(tables / "moods.parquet")["id"]) == ["a", "b"]
        assert list(pd.read_parquet(tables / "report.parquet")["id"]) == ["a", "b"]
        assert nights.bought == 4  # two rows of two assets, though `answers` was requested twice


def test_the_nightly_schedule_of_the_yaml_project(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLE / "src")])  # Dagster replaces the first
    with nights.world("yaml_project.py") as opened:
        opened.schedule("nightly_schedule", datetime(2026, 11, 2, 2, 30, 1, tzinfo=UTC))
        opened.round()
        assert opened.selections() == ["nightly [2026-11-01] SUCCESS"]
        for _ in range(2):  # one batch asset after the other
            nights.emulator.advance(3601)
            opened.round(times=4)
        base = Path(opened.instance.storage_directory()) / "batch_assets" / "tables"
        table = pd.read_parquet(base / "messages_classified" / "2026-11-01.parquet")
        assert list(table["id"]) == ["m1", "m2", "m3"]
        assert table["intent"].tolist()[0] == "lost_card"
        answers = pd.read_parquet(base / "answers" / "2026-11-01.parquet")
        assert set(answers["batch_outcome"]) == {"succeeded"}
        assert nights.bought == 6
