"""Nights over a folder: the source's files, the store and Dagster's home."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
from world import World, world

from batch_assets.emulator import Emulator


def write_night(folder: Path, day: str, texts: list[str | None]) -> None:
    """The source's file of one day."""
    rows = [{"id": f"{day}/{number}", "text": text} for number, text in enumerate(texts)]
    (folder / f"{day}.json").write_text(json.dumps(rows))


class Nights:
    """What the tests look at besides Dagster."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        self.days = ["2025-01-01", "2025-01-02", "2025-01-03"]
        for day in self.days:
            write_night(folder, day, [f"My card {number} of {day} has not arrived" for number in range(4)])

    def world(self, pipeline: str = "nights.py", *, code_server: bool = False) -> AbstractContextManager[World]:
        return world(pipeline, self.folder, code_server=code_server)

    def table(self, asset: str, day: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "store" / "tables" / asset / f"{day}.parquet")

    @property
    def bought(self) -> int:
        return int(self.emulator.bill()["openai"]["requests"]) if self.emulator.bill() else 0

    def reads(self) -> int:
        """How often `summarized` has read a partition of its source."""
        file = self.folder / "read.txt"
        return len(file.read_text().splitlines()) if file.exists() else 0
