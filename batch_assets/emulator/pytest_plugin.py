"""The pytest fixture `batch_emulator`: a clean emulator per test, with the SDKs' environment variables pointing at it.

Loaded by every pytest run of an environment that has this package, so it imports nothing but pytest until it is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from batch_assets.emulator.embedded import Emulator


@pytest.fixture(scope="session")
def _batch_emulator_server() -> "Iterator[Emulator]":
    """One server for the session; it starts with the first test that needs it."""
    from batch_assets.emulator.embedded import Emulator  # noqa: PLC0415 -- see above

    with Emulator(latency_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def batch_emulator(_batch_emulator_server: "Emulator", monkeypatch: pytest.MonkeyPatch) -> "Emulator":
    """An emulator without files, batches, bill or faults, whose batches complete at once (see `set_latency`).

    Sets {OPENAI,ANTHROPIC,GOOGLE_GEMINI,GOOGLE_VERTEX}_BASE_URL, {OPENAI,ANTHROPIC,GEMINI,MISTRAL}_API_KEY and
    STORAGE_EMULATOR_HOST for the test.
    """
    _batch_emulator_server.reset()
    for name, value in _batch_emulator_server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-emulator")
    return _batch_emulator_server
