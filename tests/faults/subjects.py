"""The providers of the matrix, pointed at the emulator. Another provider is one more Subject."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

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
    from collections.abc import Callable
    from pathlib import Path

    from batch_assets.emulator.client import Controls
    from batch_assets.providers.protocol import Provider

KEY = "sk-faults"
CONCURRENCY = 4
"""Of the host without batches."""
_QUICK: dict[str, Any] = {"listing_grace_seconds": 0.3, "timeout_seconds": 10, "max_retries": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A provider: its adapter, and what it is called in the emulator."""

    name: str
    model: str
    connect: Callable[[Controls, Path], Provider]
    """Makes the adapter; the folder is the night's own."""
    emulated: str = ""
    """What the emulator's bill calls it, where that is not the name."""
    files: bool = True
    """Whether requests go up as a file; else they are in the create call."""
    result_files: bool = True
    """Whether results are downloaded as a file; else they are in what the provider says of the batch."""
    faults: Literal["batches", "bucket", "realtime"] = "batches"
    """Which faults it has: those of batch APIs, those of a store in a bucket, or those of a host without batches."""

    @property
    def bill(self) -> str:
        """Its name in the emulator's bill."""
        return self.emulated or self.name


def _gemini(emulator: Controls, *, inline_bytes: int) -> Provider:
    return GeminiProvider(api_key=KEY, base_url=emulator.gemini_base_url, inline_bytes=inline_bytes, **_QUICK)


def _vertex(emulator: Controls, _: Path) -> Provider:
    return VertexProvider(
        project="my-project",
        location="europe-west4",
        gcs_folder="gs://bucket/batches",
        base_url=emulator.vertex_base_url,
        **_QUICK,
    )


def _hosted(emulator: Controls, *, metadata: bool) -> Provider:
    dialect = replace(GATEWAY, metadata=metadata)
    return OpenAICompatibleProvider(dialect=dialect, api_key=KEY, base_url=emulator.openai_base_url, **_QUICK)


def realtime(emulator: Controls, folder: Path) -> RealtimeProvider:
    """A host without batches: what is under way is kept in the night's folder."""
    return RealtimeProvider(
        store=LocalStore(folder / "realtime"),
        dialect="openai",
        name="realtime",
        api_key=KEY,
        base_url=emulator.openai_base_url,
        concurrency=CONCURRENCY,
        timeout_seconds=10,
        blocked_seconds=0.3,
        listing_grace_seconds=0.3,
    )


SUBJECTS = [
    Subject(
        name="openai",
        model="gpt-5-mini",
        connect=lambda emulator, _: OpenAIProvider(api_key=KEY, base_url=emulator.openai_base_url, **_QUICK),
    ),
    Subject(
        name="anthropic",
        model="claude-haiku-4-5",
        connect=lambda emulator, _: AnthropicProvider(api_key=KEY, base_url=emulator.anthropic_base_url, **_QUICK),
        files=False,
    ),
    Subject(
        name="mistral",
        model="mistral-small-2603",
        connect=lambda emulator, _: MistralProvider(api_key=KEY, server_url=emulator.mistral_server_url, **_QUICK),
    ),
    Subject(
        name="gemini",
        model="gemini-3-flash-preview",
        connect=lambda emulator, _: _gemini(emulator, inline_bytes=0),
    ),
    Subject(
        name="gemini, inline",
        model="gemini-3-flash-preview",
        connect=lambda emulator, _: _gemini(emulator, inline_bytes=1_000_000),
        emulated="gemini",
        files=False,
        result_files=False,
    ),
    Subject(name="vertex", model="gemini-3-flash-preview", connect=_vertex),
    Subject(
        name="gateway",
        model="gpt-5-mini",
        connect=lambda emulator, _: _hosted(emulator, metadata=True),
        emulated="openai",
    ),
    Subject(
        name="gateway without metadata",
        model="gpt-5-mini",
        connect=lambda emulator, _: _hosted(emulator, metadata=False),
        emulated="openai",
    ),
    Subject(
        name="openai, store in a bucket",
        model="gpt-5-mini",
        connect=lambda emulator, _: OpenAIProvider(api_key=KEY, base_url=emulator.openai_base_url, **_QUICK),
        emulated="openai",
        faults="bucket",
    ),
    Subject(name="realtime", model="gpt-5-mini", connect=realtime, emulated="openai", faults="realtime"),
]
