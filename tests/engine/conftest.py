"""A night of an engine against a real emulator over the socket, with the official SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace as with_changes
from pathlib import Path

import pytest
from deployment import KEY, Engine

from batch_assets.admission import QueueLimits
from batch_assets.emulator import Emulator
from batch_assets.ledger import Ledger
from batch_assets.providers.openai import LIMITS, OpenAIProvider
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore


@pytest.fixture(scope="session")
def _server() -> Iterator[Emulator]:
    with Emulator(latency_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def emulator(_server: Emulator) -> Emulator:
    """Clean; batches complete by the next call."""
    _server.reset()
    return _server


@pytest.fixture
def make_engine(tmp_path: Path, emulator: Emulator) -> Callable[..., Engine]:
    def make(*, limits: dict[str, int] | None = None, queue: QueueLimits | None = None, name: str = "one") -> Engine:
        provider = OpenAIProvider(api_key=KEY, base_url=emulator.openai_base_url, queue=queue, max_retries=0)
        if limits:
            provider.limits = with_changes(LIMITS, **limits)
        folder = tmp_path / name
        ledger = Ledger.open(LocalStore(folder / "store"))
        return Engine(folder, emulator, provider, ledger, TableStore(folder / "tables"))

    return make


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine()
