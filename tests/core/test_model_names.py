"""Names of models that say that a request cannot be answered, held against the lists of genai-prices."""

from __future__ import annotations

import pytest
from genai_prices import data_snapshot

from batch_assets.errors import ConfigError
from batch_assets.model_names import check_model

VENDORS = ("openai", "anthropic", "google", "mistral")
FAMILIES = {"openai": "gpt-", "anthropic": "claude-", "google": "gemini-", "mistral": "mistral-"}
OTHER_ENDPOINTS = ("image", "ocr", "tts", "whisper")


def listed(vendor: str, *, in_batches: bool = False) -> list[str]:
    (found,) = [provider for provider in data_snapshot.get_snapshot().providers if provider.id == vendor]
    return [
        model.id
        for model in found.models
        if not in_batches or any(v.when.get("processing") == "batch" for v in model.price_variants or ())
    ]


def check(model: str, vendor: str, endpoint: str = "chat") -> None:
    check_model(model, vendor=vendor, provider="mine", endpoint=endpoint)


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_model_with_a_batch_price_passes_at_its_vendor(vendor: str) -> None:
    models = [
        name
        for name in listed(vendor, in_batches=True)
        if not any(word in name for word in OTHER_ENDPOINTS) and not (vendor == "google" and name.startswith("claude-"))
    ]
    assert len(models) > 10
    for name in models:
        check(name, vendor, "embeddings" if "embed" in name else "chat")


@pytest.mark.parametrize("owner", VENDORS)
def test_no_model_passes_at_another_vendor(owner: str) -> None:
    models = [name for name in listed(owner) if name.startswith(FAMILIES[owner]) and "oss" not in name]
    assert len(models) > 10
    for name in models:
        for vendor in {*VENDORS} - {owner}:
            with pytest.raises(ConfigError, match=f"`model` is '{name}', which is .*'s, and the provider 'mine' is "):
                check(name, vendor)


def test_hosts_of_many_makers_have_open_weights_only() -> None:
    for name in listed("groq"):
        if not name.startswith("whisper"):
            check(name, "groq")
    for name in ("claude-haiku-4-5", "gemini-3-flash-preview", "gpt-5-mini"):
        for vendor in ("groq", "deepseek"):
            with pytest.raises(ConfigError, match=r"and the provider 'mine' is (Groq|DeepSeek): name a model that"):
                check(name, vendor)
    for name in (*listed("mistral"), "gpt-5-mini"):
        check(name, "doubleword")
        check(name, "azure")


def test_what_to_do_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        check("claude-haiku-4-5", "openai")
    assert str(caught.value) == (
        "`model` is 'claude-haiku-4-5', which is Anthropic's, and the provider 'mine' is OpenAI: name a model that "
        "OpenAI has, or the key of an AnthropicBatchResource as `provider`"
    )


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("m", "openai"),
        ("a-model-of-tomorrow", "anthropic"),
        ("gpt-oss-120b", "mistral"),
        ("ft:gpt-4o-mini-2024-07-18:acme::8x1", "openai"),
        ("ft:open-mistral-7b:daf5e488:20240430:c1bed559", "mistral"),
        ("models/gemini-3-flash-preview", "google"),
        ("tunedModels/gpt-4-like-123", "google"),
        ("projects/p/locations/eu/models/claude-like", "google"),
        ("deepseek-v4-1-flash-1017", "mistral"),
        ("o3x-of-somebody", "anthropic"),
    ],
)
def test_what_is_not_certain_passes(model: str, vendor: str) -> None:
    check(model, vendor)


@pytest.mark.parametrize(
    ("model", "vendor", "endpoint", "said"),
    [
        ("text-embedding-3-small", "openai", "chat", "makes embeddings, and `endpoint` is 'chat'"),
        ("text-embedding-3-small", "openai", "responses", "makes embeddings"),
        ("mistral-embed", "mistral", "chat", "makes embeddings"),
        ("gemini-embedding-2", "google", "chat", "makes embeddings"),
        ("gpt-5-mini", "openai", "embeddings", "makes no embeddings"),
        ("mistral-small-2603", "mistral", "embeddings", "makes no embeddings"),
        ("gpt-image-2", "openai", "chat", "another endpoint"),
        ("gpt-4o-mini-transcribe", "openai", "responses", "another endpoint"),
        ("omni-moderation-latest", "openai", "embeddings", "another endpoint"),
        ("mistral-ocr-latest", "mistral", "chat", "another endpoint"),
        ("ft:gpt-4o-mini:acme::1", "anthropic", "chat", "which is OpenAI's"),
        ("models/gpt-5", "google", "chat", "GeminiBatchResource|OpenAIBatchResource"),
    ],
)
def test_models_for_another_endpoint(model: str, vendor: str, endpoint: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(model, vendor, endpoint)
