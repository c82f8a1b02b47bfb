"""Mistral's adapter against the contract."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from batch_assets.provider_contract import ProviderContract
from batch_assets.providers.mistral import MistralProvider
from batch_assets.records import BatchPhase, Ending


class TestMistral(ProviderContract):
    model = "mistral-small-2603"
    emulated = "mistral"
    key_variable = "MISTRAL_API_KEY"
    statuses: ClassVar[Mapping[str, tuple[BatchPhase, Ending | None]]] = MappingProxyType(
        {
            "QUEUED": (BatchPhase.RUNNING, None),
            "RUNNING": (BatchPhase.RUNNING, None),
            "CANCELLATION_REQUESTED": (BatchPhase.CANCELING, None),
            "SUCCESS": (BatchPhase.ENDED, Ending.COMPLETED),
            "FAILED": (BatchPhase.ENDED, Ending.FAILED),
            "TIMEOUT_EXCEEDED": (BatchPhase.ENDED, Ending.EXPIRED),
            "CANCELLED": (BatchPhase.ENDED, Ending.CANCELED),
        }
    )
    refused_params: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            "stream": True,
            "n": 2,
            "messages": [],
            "model": "x",
            "response_format": {},
            "max_tokens": 5,
            "seed": 1,
            "output_dtype": "int8",
            "service_tier": "priority",
        }
    )
    taken_params: ClassVar[Mapping[str, object]] = MappingProxyType({"stream": False, "n": 1})
    refused_schemas: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "object",
            "properties": {"a": {"type": "string", "pattern": "(?=x)"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    )
    out_of_money: ClassVar[Sequence[Mapping[str, object]]] = ({"status": 402},)

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> MistralProvider:
        return MistralProvider(api_key=secret, server_url=emulator.mistral_server_url, max_retries=retries)
