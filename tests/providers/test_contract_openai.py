"""OpenAI's adapter against the contract."""

from typing import Any, ClassVar

from provider_world import OPENAI_STATUSES

from batch_assets.providers.openai import OpenAIProvider
from batch_assets.testing import ProviderContract


class TestOpenAI(ProviderContract):
    model = "gpt-5-mini"
    emulated = "openai"
    key_variable = "OPENAI_API_KEY"
    statuses: ClassVar = OPENAI_STATUSES
    refused_params: ClassVar = {
        "stream": True,
        "n": 2,
        "messages": [],
        "model": "gpt-5",
        "response_format": {},
        "max_tokens": 5,
        "service_tier": "flex",
        "background": True,
    }
    taken_params: ClassVar = {"stream": None, "n": 1, "service_tier": "auto", "verbosity": "low"}
    refused_schemas: ClassVar = [
        {
            "type": "object",
            "properties": {"a": {"type": "string", "pattern": "(?=x)"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    ]
    out_of_money: ClassVar = [
        {"status": 429, "code": "insufficient_quota"},
        {"status": 429, "code": "billing_not_active"},
    ]

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> OpenAIProvider:
        return OpenAIProvider(api_key=secret, base_url=emulator.openai_base_url, max_retries=retries)


class TestOpenAIResponses(TestOpenAI):
    endpoint = "responses"
    refused_params: ClassVar = {
        "stream": True,
        "input": [],
        "model": "gpt-5",
        "text": {"format": {}},
        "reasoning_effort": "low",
        "max_output_tokens": 5,
    }
    taken_params: ClassVar = {"stream": False, "background": False, "text": {"verbosity": "low"}}
