"""Which provider the example goes to: to itself where its key is set, else to the emulator."""

from __future__ import annotations

import os

from batch_assets.errors import ConfigError

KEYS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "vertex": "BATCH_ASSETS_GCS_FOLDER",
    "mistral": "MISTRAL_API_KEY",
}
"""The environment variable that each needs; Vertex AI its bucket, beside Google's own project and credentials."""


def chosen_provider() -> str:
    """`openai`, or what BATCH_ASSETS_PROVIDER says. Raises ConfigError."""
    name = os.environ.get("BATCH_ASSETS_PROVIDER") or "openai"
    if name not in KEYS:
        raise ConfigError(f"PROVIDER={name} is none that the example knows; it knows {', '.join(KEYS)}")
    return name


def emulator_url() -> str | None:
    """Where the emulator is, if the chosen provider's key is not set; None: the provider itself is asked."""
    if os.environ.get(KEYS[chosen_provider()]):
        return None
    return os.environ.get("BATCH_ASSETS_EMULATOR_URL") or "http://127.0.0.1:8765"
