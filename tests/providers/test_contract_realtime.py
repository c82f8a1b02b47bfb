"""Hosts without batches against the contract of a provider that has to be driven."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from batch_assets.providers.realtime import RealtimeProvider
from batch_assets.storage.local import LocalStore
from batch_assets.testing import DrivenContract


class TestRealtime(DrivenContract):
    model = "gpt-5-mini"
    emulated = "openai"
    dialect: ClassVar[str] = "openai"
    key_variable = "OPENAI_API_KEY"
    folder: Path

    @pytest.fixture(autouse=True)
    def one_store(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "realtime"

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> RealtimeProvider:
        return RealtimeProvider(
            store=LocalStore(self.folder),
            dialect=self.dialect,
            api_key=secret,
            base_url=emulator.openai_base_url,
            concurrency=4,
            blocked_seconds=0.3,
        )


class TestRealtimeResponses(TestRealtime):
    endpoint = "responses"


class TestDeepSeek(TestRealtime):
    dialect = "deepseek"
    model = "deepseek-v4-flash"
    key_variable = "DEEPSEEK_API_KEY"
