"""Models whose names alone say that a request cannot be answered: another vendor's, or one for another endpoint. Pure.

Only what is certain is refused, so that a name that is not known here passes, and so do names in a folder
(`openai/gpt-oss-120b`, `tunedModels/...`), whose owner the host knows. The names are those of the vendors' own models
in genai-prices 0.2.3 (read 2026-11); its lists themselves say too much, since vendors sell models of others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from batch_assets.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """A vendor that makes models."""

    name: str
    resource: str
    names: re.Pattern[str]
    sold_by_others: bool = False
    """Open weights of it are at hosts that sell models of many makers."""


_OWNERS = {
    "openai": _Owner(
        name="OpenAI",
        resource="an OpenAIBatchResource",
        names=re.compile(
            r"(gpt-(?!oss)|chatgpt-|o[134](-|$)|codex-|computer-use|text-embedding-(3|ada)|(davinci|babbage)-\d"
            r"|whisper-1$|tts-1|dall-e-|(omni|text)-moderation|sora-)"
        ),
    ),
    "anthropic": _Owner(name="Anthropic", resource="an AnthropicBatchResource", names=re.compile("claude-")),
    "google": _Owner(
        name="Google", resource="a GeminiBatchResource or VertexBatchResource", names=re.compile("gemini-")
    ),
    "mistral": _Owner(
        name="Mistral",
        resource="a MistralBatchResource",
        names=re.compile(r"((mi|mini|magi|dev|code)stral|pixtral|voxtral|open-(mistral|mixtral))(-|$)"),
        sold_by_others=True,
    ),
}
_SELLERS = {"groq": "Groq", "deepseek": "DeepSeek"}
"""Hosts that sell models of several makers, but none whose weights are kept."""
_OTHER_ENDPOINTS = re.compile(
    r"(whisper-|tts-1|dall-e-|sora-|(gpt|chatgpt)-image-|(omni|text)-moderation|mistral-(ocr|moderation)-|(davinci|babbage)-\d"
    r"|gpt-3\.5-turbo-instruct|gpt-.*(realtime|transcribe|tts)|gemini-.*-tts|voxtral-.*-transcribe)"
)
_FINE_TUNED = "ft:"


def check_model(model: str, *, vendor: str, provider: str, endpoint: str) -> None:
    """Raise ConfigError for a model that the vendor's own host cannot have, or has for another endpoint.

    `vendor` as in genai-prices; `provider` is the key of its resource. The host of anybody else is not to be asked for.
    """
    name = model.removeprefix("models/")
    if "/" in name:
        return
    owner = next((key for key, one in _OWNERS.items() if one.names.match(name.removeprefix(_FINE_TUNED))), None)
    if owner is None:
        return
    if owner != vendor:
        _refuse_foreign(model, _OWNERS[owner], vendor, provider)
    elif not name.startswith(_FINE_TUNED):
        _refuse_other_endpoint(model, name, endpoint)


def _refuse_foreign(model: str, owner: _Owner, vendor: str, provider: str) -> None:
    own = _OWNERS[vendor].name if vendor in _OWNERS else None if owner.sold_by_others else _SELLERS.get(vendor)
    if own is not None:
        raise ConfigError(
            f"`model` is {model!r}, which is {owner.name}'s, and the provider {provider!r} is {own}: name a model that "
            f"{own} has, or the key of {owner.resource} as `provider`"
        )


def _refuse_other_endpoint(model: str, name: str, endpoint: str) -> None:
    if _OTHER_ENDPOINTS.match(name):
        raise ConfigError(f"`model` is {model!r}, which has another endpoint than `{endpoint}`: name a model for texts")
    if "embed" in name and endpoint != "embeddings":
        raise ConfigError(
            f"`model` is {model!r}, which makes embeddings, and `endpoint` is {endpoint!r}: name a model that answers, "
            "or set endpoint='embeddings' where the provider has it"
        )
    if "embed" not in name and endpoint == "embeddings":
        raise ConfigError(
            f"`model` is {model!r}, which makes no embeddings, and `endpoint` is 'embeddings': name an embedding "
            "model, or leave `endpoint` out"
        )
