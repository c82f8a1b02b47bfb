"""Resources of hosts that speak OpenAI's API: with batches, and without."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from dagster import Config, ConfigurableResource
from pydantic import Field, field_validator

from batch_assets.dagster.providers import EMULATED, RETRIES, TIMEOUT, BatchProviderResource, api_key, is_env
from batch_assets.dagster.store import gcs_client, is_bucket, open_store
from batch_assets.providers.openai_dialects import URLS
from batch_assets.providers.openai_differences import Differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
    from batch_assets.providers.realtime import RealtimeProvider
    from batch_assets.storage.protocol import ObjectStore

_API_VERSION = "For Azure's versioned API, whose root is https://NAME.openai.azure.com/openai."
_HEADERS = "Headers of every call, a gateway's `x-litellm-model` say; no place for secrets."
_DIFFERENCES = (
    "What is different at a host that is none of these: fields of `HostDifferences`, over those of `dialect`."
)


class HostDifferences(Differences, Config):
    """A host that is not listed, as data: what is different from the preset that `dialect` names."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_written_out(cls, value: Any) -> Any:
        if is_env(value):
            raise ValueError("is an EnvVar; write its value: requests are checked by it when definitions load")
        return value

    def at_emulator(self) -> HostDifferences:
        """The same where paths and the header of the key are the emulator's."""
        urls = None if self.urls is None else {endpoint: URLS[endpoint] for endpoint in self.urls}
        return self.model_copy(update={"urls": urls, "key_header": None})


class OpenAICompatibleBatchResource(BatchProviderResource):
    """An account at a host that speaks OpenAI's batch API: Azure OpenAI, Groq, Doubleword, a gateway of your own."""

    dialect: Literal["azure", "groq", "doubleword", "gateway"] = Field(
        description="What the host is: `azure`, `groq`, `doubleword`, or `gateway` for LiteLLM, vLLM and any other."
    )
    differences: HostDifferences | None = Field(default=None, description=_DIFFERENCES)
    api_key: str | None = api_key("AZURE_OPENAI_API_KEY, GROQ_API_KEY or DOUBLEWORD_API_KEY; a gateway may need no key")
    base_url: str | None = Field(
        default=None,
        description="Root of the API, https://NAME.openai.azure.com/openai/v1 say; Groq's and Doubleword's are known.",
    )
    account_name: str | None = Field(
        default=None, description="Name of the account, where several keys of one host belong to different ones."
    )
    completion_window: str | None = Field(
        default=None, description="The promised time, `24h` say; default: the host's usual one."
    )
    api_version: str | None = Field(default=None, description=_API_VERSION)
    headers: dict[str, str] | None = Field(default=None, description=_HEADERS)
    assumed_batch_discount: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share off the standard price where no batch price is published, 0.5 say; default: the host's.",
    )
    timeout_seconds: float = Field(default=600, gt=0, description=TIMEOUT)
    max_retries: int = Field(default=2, ge=0, description=RETRIES)

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return _at_emulator(addresses["hosts"], self.differences)

    def provider(self, name: str) -> OpenAICompatibleProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

        discount = self.assumed_batch_discount
        return OpenAICompatibleProvider(
            name=name,
            dialect=self.dialect,
            differences=self.differences,
            api_key=self.api_key,
            base_url=self.base_url,
            account_name=self.account_name,
            completion_window=self.completion_window,
            api_version=self.api_version,
            headers=self.headers,
            assumed_batch_discount=None if discount is None else Decimal(str(discount)),
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
            queue=self.queue_limits(),
        )


class RealtimeResource(BatchProviderResource):
    """An account at a host without a batch API: the same tables, request by request, at standard price.

    A run that dies has at most `concurrency` requests executed, and paid for, again.
    """

    dialect: Literal["deepseek", "openai", "azure", "groq", "doubleword", "gateway"] = Field(
        description="What the host is: `deepseek`, ..., or `gateway` for any OpenAI-compatible chat endpoint."
    )
    differences: HostDifferences | None = Field(
        default=None, description=f"{_DIFFERENCES} What is told of batches is not used."
    )
    root: str = Field(
        description="Folder, or gs://bucket/folder, of the requests under way and their answers so far; the same for "
        "all runs of the deployment."
    )
    gcs: ConfigurableResource | None = Field(  # type: ignore[type-arg]  # by its base, as in BatchStore
        default=None,
        description="`dagster_gcp.GCSResource` of the bucket; default: the project and credentials of the environment.",
    )
    api_key: str | None = api_key("DEEPSEEK_API_KEY, or the host's own")
    base_url: str | None = Field(default=None, description="Root of the API; DeepSeek's, OpenAI's, Groq's are known.")
    account_name: str | None = Field(
        default=None, description="Name of the account, where several keys of one host belong to different ones."
    )
    api_version: str | None = Field(default=None, description=_API_VERSION)
    headers: dict[str, str] | None = Field(default=None, description=_HEADERS)
    concurrency: int = Field(default=8, ge=1, description="Requests under way at one time.")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="Requests a minute at most, at an even rate; default: no limit of ours."
    )
    requests_per_batch: int = Field(
        default=500, ge=1, description="Requests that are fetched, and tried again, together."
    )
    timeout_seconds: float = Field(
        default=120,
        gt=0,
        le=300,
        description="How long one request may take in all, in seconds; at most 300. One that takes longer may have "
        "been paid for, and is sent again, up to the asset's `max_attempts`.",
    )

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return {**_at_emulator(addresses["openai"], self.differences), "root": folder, "gcs": None}

    def provider(self, name: str) -> RealtimeProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.realtime import RealtimeProvider  # noqa: PLC0415

        is_bucket(self.root)  # or a folder; it is opened in the run
        return RealtimeProvider(
            store=self._store,
            name=name,
            dialect=self.dialect,
            differences=self.differences,
            api_key=self.api_key,
            base_url=self.base_url,
            account_name=self.account_name,
            api_version=self.api_version,
            headers=self.headers,
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            requests_per_batch=self.requests_per_batch,
            timeout_seconds=self.timeout_seconds,
            queue=self.queue_limits(),
        )

    def _store(self) -> ObjectStore:
        return open_store(self.root, None if self.gcs is None else gcs_client(self.gcs))


def _at_emulator(base_url: str, differences: HostDifferences | None) -> dict[str, Any]:
    own = {} if differences is None else {"differences": differences.at_emulator()}
    return {"api_key": EMULATED, "base_url": base_url, "api_version": None, **own}
