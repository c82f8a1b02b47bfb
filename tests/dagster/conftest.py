"""Nights in a temporary folder, beside an emulator whose batches take an hour of its own time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from night_folder import Nights
from world import World

from batch_assets.emulator import Emulator


@pytest.fixture
def nights(tmp_path: Path, batch_emulator: Emulator) -> Nights:
    batch_emulator.set_latency(3600)
    return Nights(tmp_path, batch_emulator)


@pytest.fixture
def night_world(nights: Nights) -> Iterator[World]:
    with nights.world() as opened:
        yield opened
