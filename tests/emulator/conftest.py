from collections.abc import Iterator

import pytest
from anthropic import Anthropic
from openai import OpenAI

from batch_assets.emulator import Emulator


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
def client(emulator: Emulator) -> Iterator[OpenAI]:
    """The official SDK, without retries."""
    with OpenAI(base_url=emulator.openai_base_url, api_key="sk-test", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def claude(emulator: Emulator) -> Iterator[Anthropic]:
    """The official SDK, without retries."""
    with Anthropic(base_url=emulator.anthropic_base_url, api_key="sk-test", max_retries=0, timeout=20) as client:
        yield client
