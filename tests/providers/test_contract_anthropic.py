"""Anthropic's adapter against the contract."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import anthropic

from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.records import BatchPhase, Ending
from batch_assets.testing import ProviderContract

NEW_API = int(anthropic.__version__.partition(".")[0]) >= 2
OPTIONAL = {"anyOf": [{"type": "string"}, {"type": "null"}]}


class TestAnthropic(ProviderContract):
    model = "claude-haiku-4-5"
    emulated = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    statuses: ClassVar[Mapping[str, tuple[BatchPhase, Ending | None]]] = MappingProxyType(
        {
            "in_progress": (BatchPhase.RUNNING, None),
            "canceling": (BatchPhase.CANCELING, None),
            "ended": (BatchPhase.ENDED, None),
        }
    )
    status_of_canceled = None
    status_of_expired = None
    fails_as_a_whole = False
    frame_bytes = len('{"requests":[]}') - 1  # the last line feed has no comma
    refused_params: ClassVar = {
        "stream": True,
        "speed": "fast",
        "store": True,
        "cache_hint": "x",
        **(dict.fromkeys(("temperature", "top_p", "top_k"), 1) if NEW_API else {}),
        "system": "x",
        "output_config": {"format": {}},
        "max_tokens": 5,
        "service_tier": "flex",
    }
    taken_params: ClassVar = {"stream": False, "output_config": {"effort": "low"}}
    refused_schemas: ClassVar = [
        {
            "type": "object",
            "properties": {f"field_{i}": OPTIONAL for i in range(17)},
            "required": [f"field_{i}" for i in range(17)],
            "additionalProperties": False,
        },
        {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
    ]
    out_of_money: ClassVar = [
        {"status": 429, "code": "enforced_spend_limit_reached"},
        {"status": 429, "code": "contract_spend_limit_reached"},
        {"status": 400, "message": "Your credit balance is too low to access the Anthropic API."},
        {"status": 402},
    ]

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> AnthropicProvider:
        return AnthropicProvider(api_key=secret, base_url=emulator.anthropic_base_url, max_retries=retries)
