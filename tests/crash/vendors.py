"""Each provider's account for a night of its own, at an emulator that many nights share."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from batch_assets.emulator.client import Controls
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.openai_dialects import GATEWAY
from batch_assets.providers.realtime import RealtimeProvider
from batch_assets.providers.vertex import VertexProvider
from batch_assets.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from batch_assets.providers.protocol import Provider

CONCURRENCY = 4
"""Of the host without batches."""


class Running(Controls):
    """An emulator of another process, by its address."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What tells one night's account from the others'."""

    tag: str
    folder: Path
    emulator: Controls
    grace_seconds: float

    @property
    def settings(self) -> dict[str, Any]:
        return {"api_key": f"sk-{self.tag}", "listing_grace_seconds": self.grace_seconds}


def _vertex(account: Account) -> Provider:
    return VertexProvider(
        project=f"project-{account.tag}",
        location="europe-west4",
        gcs_folder=f"gs://bucket/{account.tag}",
        base_url=account.emulator.vertex_base_url,
        listing_grace_seconds=account.grace_seconds,
    )


def _gemini(account: Account, *, inline_bytes: int) -> Provider:
    return GeminiProvider(
        base_url=account.emulator.gemini_base_url,
        project=account.tag,
        inline_bytes=inline_bytes,
        **account.settings,
    )


def _without_metadata(account: Account) -> Provider:
    dialect = replace(GATEWAY, metadata=False)
    return OpenAICompatibleProvider(dialect=dialect, base_url=account.emulator.openai_base_url, **account.settings)


def _realtime(account: Account) -> Provider:
    return RealtimeProvider(
        store=LocalStore(account.folder / "realtime"),
        dialect="openai",
        base_url=account.emulator.openai_base_url,
        concurrency=CONCURRENCY,
        **account.settings,
    )


def _seed(tag: str) -> int:
    return zlib.crc32(tag.encode()) & 0x7FFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A provider that nights may have."""

    model: str
    connect: Callable[[Account], Provider]
    own: Callable[[str], dict[str, Any]] = lambda tag: {"seed": _seed(tag)}
    """Parameters that make the requests of a tag its own, and change no answer."""


VENDORS = {
    "openai": Vendor(
        model="gpt-5-mini",
        connect=lambda account: OpenAIProvider(base_url=account.emulator.openai_base_url, **account.settings),
    ),
    "anthropic": Vendor(
        model="claude-haiku-4-5",
        connect=lambda account: AnthropicProvider(base_url=account.emulator.anthropic_base_url, **account.settings),
        own=lambda tag: {"metadata": {"user_id": tag}},
    ),
    "mistral": Vendor(
        model="mistral-small-2603",
        connect=lambda account: MistralProvider(server_url=account.emulator.mistral_server_url, **account.settings),
        own=lambda tag: {"random_seed": _seed(tag)},
    ),
    "gemini": Vendor(model="gemini-3-flash-preview", connect=lambda account: _gemini(account, inline_bytes=0)),
    "gemini inline": Vendor(
        model="gemini-3-flash-preview", connect=lambda account: _gemini(account, inline_bytes=100_000)
    ),
    "vertex": Vendor(model="gemini-3-flash-preview", connect=_vertex),
    "no metadata": Vendor(model="gpt-5-mini", connect=_without_metadata),
    "realtime": Vendor(model="gpt-5-mini", connect=_realtime),
}
