"""One asset goes from one provider to another by one word: the same rows and columns come out."""

from __future__ import annotations

from pathlib import Path

from batch_assets.emulator import Emulator
from batch_assets.provider_contract.contract import Bench
from batch_assets.provider_contract.nights import Nights
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.providers.openai import OpenAIProvider


def test_the_same_night_at_two_providers(emulator: Emulator, tmp_path: Path) -> None:
    texts = [f"message number {i}: I lost my card" for i in range(20)]
    tables = []
    for provider, model in (
        (OpenAIProvider(api_key="k", base_url=emulator.openai_base_url), "gpt-5-mini"),
        (AnthropicProvider(api_key="k", base_url=emulator.anthropic_base_url), "claude-haiku-4-5"),
    ):
        bench = Bench(provider=provider, emulator=emulator, model=model, emulated=provider.vendor)
        nights = Nights(bench, tmp_path)  # the same store and the same asset
        landing, rows = nights.land(nights.plan(texts))
        assert landing.reused == 0
        assert {row["batch_model"] for row in rows} == {model}
        tables.append([{key: row[key] for key in ("id", "text", "intent", "note", "batch_outcome")} for row in rows])
        assert bench.bill["requests"] == 20
    assert tables[0] == tables[1]
