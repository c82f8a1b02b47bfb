from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nights import arm

from batch_assets.emulator import SpawnedEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: hundreds of nights wait for a disk otherwise."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="batch-assets-") as name:
        yield Path(name)


@pytest.fixture
def emulator() -> Iterator[SpawnedEmulator]:
    with SpawnedEmulator(latency_seconds=0) as emulator:
        arm(emulator)
        yield emulator
