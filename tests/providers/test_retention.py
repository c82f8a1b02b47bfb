"""For how long each provider keeps results, which is counted from the day on which a batch was created."""

from __future__ import annotations

from batch_assets.providers import anthropic, gemini, mistral, openai, openai_dialects, vertex


def test_the_deadline_of_each_provider() -> None:
    limits = {
        "openai": openai.LIMITS,
        "azure": openai_dialects.AZURE.limits,
        "gateway": openai_dialects.GATEWAY.limits,
        "anthropic": anthropic.LIMITS,
        "mistral": mistral.LIMITS,
        "gemini": gemini.LIMITS,
        "vertex": vertex.LIMITS,
    }
    kept = {name: one.results_kept_days for name, one in limits.items()}
    assert kept == {
        "openai": 30,
        "azure": 14,
        "gateway": 30,
        "anthropic": 29,
        "mistral": 2,
        "gemini": 4,
        "vertex": 365,
    }
    for name, one in limits.items():  # a batch that takes its whole window leaves time to fetch what it did
        assert kept[name] * 24 > int(one.completion_window.removesuffix("h")), name
