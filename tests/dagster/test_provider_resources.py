"""Resources of the providers beyond OpenAI: what they configure, and what is checked when definitions load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from batch_assets.dagster import (
    MistralBatchResource,
    OpenAICompatibleBatchResource,
    RealtimeResource,
    batch_definitions,
    build_batch_asset,
)
from batch_assets.errors import ConfigError


@dg.asset
def messages() -> None: ...


def defined(resource: Any, **options: Any) -> dg.Definitions:
    given = {"model": "m", "prompt": "{{ text }}", "output_type": str, "row_key": "id", **options}
    asset = build_batch_asset("answers", source="messages", provider="host", **given)
    return batch_definitions(assets=[messages, asset], resources={"host": resource})


def test_mistral() -> None:
    provider = MistralBatchResource(api_key="k", server_url="https://eu.example", workspace="w").provider("host")
    assert (provider.name, provider.account) == ("host", "mistral+eu.example+w")
    defined(MistralBatchResource(api_key=dg.EnvVar("UNSET")))
    with pytest.raises(ConfigError, match="`chat` or `embeddings`"):
        defined(MistralBatchResource(), endpoint="responses")


def test_hosts_that_speak_openais_api() -> None:
    resource = OpenAICompatibleBatchResource(
        dialect="azure",
        api_key="k",
        base_url="https://blue.openai.azure.com/openai/v1",
        account_name="a",
        headers={"x-team": "t"},
        assumed_batch_discount=0.4,
    )
    provider = resource.provider("host")
    assert (provider.name, provider.account) == ("host", "azure+blue.openai.azure.com+a")
    assert str(provider.assumed_batch_discount) == "0.4"
    defined(OpenAICompatibleBatchResource(dialect="azure", api_key=dg.EnvVar("A"), base_url=dg.EnvVar("B")))
    with pytest.raises(ConfigError, match="Groq takes `chat`"):
        defined(OpenAICompatibleBatchResource(dialect="groq"), endpoint="embeddings", output_type=None)
    with pytest.raises(ConfigError, match="set `base_url`"):
        defined(OpenAICompatibleBatchResource(dialect="azure"))


def test_hosts_without_batches(tmp_path: Path) -> None:
    root = tmp_path / "realtime"
    resource = RealtimeResource(dialect="deepseek", root=str(root), api_key="k", account_name="a", concurrency=3)
    provider = resource.provider("host")
    assert (provider.name, provider.account, provider.limits.realtime) == ("host", "realtime+deepseek+a", True)
    defined(resource)
    defined(RealtimeResource(dialect="gateway", root=dg.EnvVar("A"), base_url=dg.EnvVar("B"), api_key=dg.EnvVar("C")))
    assert not root.exists()  # nothing is written when definitions load
    assert provider.newest() is None
    with pytest.raises(ConfigError, match="DeepSeek takes `chat`"):
        defined(resource, endpoint="responses")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dialect": "acme"},
        {"dialect": "groq", "assumed_batch_discount": 1.0},
        {"dialect": "groq", "max_retries": -1},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, dg.DagsterError)):
        OpenAICompatibleBatchResource(**settings)


def test_secrets_are_not_shown() -> None:
    for resource in (
        MistralBatchResource(api_key="sk-SECRET"),
        OpenAICompatibleBatchResource(dialect="groq", api_key="sk-SECRET"),
    ):
        assert "sk-SECRET" not in repr(resource)
        assert "sk-SECRET" not in repr(resource.provider("host"))


def test_embeddings_need_no_output_type_and_others_do() -> None:
    defined(MistralBatchResource(), endpoint="embeddings", output_type=None)
    with pytest.raises(ConfigError, match="`output_type` is not set"):
        defined(MistralBatchResource(), output_type=None)
