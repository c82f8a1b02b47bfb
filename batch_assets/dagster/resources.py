"""Resources: a provider's account, and the store. Every field says what it is and in which unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagster import ConfigurableResource, EnvVar
from pydantic import Field, PrivateAttr

from batch_assets.errors import ConfigError
from batch_assets.ledger import Ledger
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.realtime import RealtimeProvider
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore

if TYPE_CHECKING:
    from dagster import DagsterInstance, InitResourceContext
    from google.cloud.storage import Client

    from batch_assets.providers.protocol import Provider
    from batch_assets.storage.protocol import ObjectStore

_UNKNOWN_URL = "https://unset.invalid/v1"
STORE_KEY = "batch_store"
"""Resource key of the BatchStore."""


class BatchProviderResource(ConfigurableResource, ABC):  # type: ignore[type-arg]  # it gives itself
    """Base of the providers' resources. Subclass it to add a provider."""

    @abstractmethod
    def provider(self, name: str) -> Provider:
        """The account under the resource's key `name`."""

    def offline(self, name: str) -> Provider:
        """The same without its secrets, to check requests by when definitions load; it can send nothing."""
        known = {field: getattr(self, field) for field in type(self).model_fields}
        return type(self)(**{field: value for field, value in known.items() if not _is_env(value)}).provider(name)


class OpenAIBatchResource(BatchProviderResource):
    """An account at OpenAI, or at a server that speaks its batch API."""

    api_key: str | None = Field(
        default=None, repr=False, description="API key; default: the environment variable OPENAI_API_KEY."
    )
    base_url: str | None = Field(
        default=None,
        description="Root of the API; default: the environment variable OPENAI_BASE_URL, else https://api.openai.com/v1.",
    )
    organization: str | None = Field(
        default=None, description="Organization id; default: the environment variable OPENAI_ORG_ID."
    )
    project: str | None = Field(
        default=None, description="Project id; default: the environment variable OPENAI_PROJECT_ID."
    )
    timeout_seconds: float = Field(
        default=600, gt=0, description="How long one read of a connection may take, in seconds (uploads, downloads)."
    )
    max_retries: int = Field(
        default=2, ge=0, description="Retries of calls that only read or upload. A create call is never retried."
    )

    def provider(self, name: str) -> OpenAIProvider:
        """The account under the resource's key `name`."""
        return OpenAIProvider(
            name=name,
            api_key=self.api_key,
            base_url=self.base_url,
            organization=self.organization,
            project=self.project,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
        )


class MistralBatchResource(BatchProviderResource):
    """An account at Mistral. Needs the extra: `pip install "batch-assets[mistral]"`."""

    api_key: str | None = Field(
        default=None, repr=False, description="API key; default: the environment variable MISTRAL_API_KEY."
    )
    server_url: str | None = Field(default=None, description="Root of the API; default: https://api.mistral.ai.")
    workspace: str | None = Field(
        default=None, description="Name of the workspace, where several keys belong to different ones."
    )
    timeout_seconds: float = Field(
        default=300, gt=0, description="How long one read of a connection may take, in seconds (uploads, downloads)."
    )
    max_retries: int = Field(
        default=2, ge=0, description="Retries of calls that only read or upload. A create call is never retried."
    )

    def provider(self, name: str) -> MistralProvider:
        """The account under the resource's key `name`."""
        return MistralProvider(
            name=name,
            api_key=self.api_key,
            server_url=self.server_url,
            workspace=self.workspace,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
        )


class OpenAICompatibleBatchResource(BatchProviderResource):
    """An account at a host that speaks OpenAI's batch API: Azure OpenAI, Groq, Doubleword, a gateway of your own."""

    dialect: Literal["azure", "groq", "doubleword", "gateway"] = Field(
        description="What the host is: `azure`, `groq`, `doubleword`, or `gateway` for LiteLLM and the like."
    )
    api_key: str | None = Field(
        default=None,
        repr=False,
        description="API key; default: the environment variable AZURE_OPENAI_API_KEY, GROQ_API_KEY or "
        "DOUBLEWORD_API_KEY; a gateway may need none.",
    )
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
    api_version: str | None = Field(
        default=None, description="For Azure's versioned API, whose root is https://NAME.openai.azure.com/openai."
    )
    headers: dict[str, str] | None = Field(
        default=None, description="Headers of every call, a gateway's `x-litellm-model` say; no place for secrets."
    )
    assumed_batch_discount: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share off the standard price where no batch price is published, 0.5 say; default: the host's.",
    )
    timeout_seconds: float = Field(
        default=600, gt=0, description="How long one read of a connection may take, in seconds (uploads, downloads)."
    )
    max_retries: int = Field(
        default=2, ge=0, description="Retries of calls that only read or upload. A create call is never retried."
    )

    def provider(self, name: str) -> OpenAICompatibleProvider:
        """The account under the resource's key `name`."""
        discount = self.assumed_batch_discount
        return OpenAICompatibleProvider(
            name=name,
            dialect=self.dialect,
            api_key=self.api_key,
            base_url=self.base_url,
            account_name=self.account_name,
            completion_window=self.completion_window,
            api_version=self.api_version,
            headers=self.headers,
            assumed_batch_discount=None if discount is None else Decimal(str(discount)),
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
        )

    def offline(self, name: str) -> Provider:
        """As for others; an address that is not known before the run does not matter to the checks."""
        if _is_env(self.base_url):
            return self.model_copy(update={"base_url": _UNKNOWN_URL}).offline(name)
        return super().offline(name)


class RealtimeResource(BatchProviderResource):
    """An account at a host without a batch API: the same tables, request by request, at standard price.

    A run that dies has at most `concurrency` requests executed, and paid for, again.
    """

    dialect: Literal["deepseek", "openai", "azure", "groq", "doubleword", "gateway"] = Field(
        description="What the host is: `deepseek`, ..., or `gateway` for any OpenAI-compatible chat endpoint."
    )
    root: str = Field(
        description="Folder, or gs://bucket/folder, of the requests under way and their answers so far; the same for "
        "all runs of the deployment."
    )
    api_key: str | None = Field(
        default=None,
        repr=False,
        description="API key; default: the environment variable DEEPSEEK_API_KEY, or the host's own.",
    )
    base_url: str | None = Field(default=None, description="Root of the API; DeepSeek's, OpenAI's, Groq's are known.")
    account_name: str | None = Field(
        default=None, description="Name of the account, where several keys of one host belong to different ones."
    )
    concurrency: int = Field(default=8, ge=1, description="Requests under way at one time.")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="Requests a minute at most, at an even rate; default: no limit of ours."
    )
    timeout_seconds: float = Field(default=120, gt=0, description="How long one request may take, in seconds.")

    def provider(self, name: str) -> RealtimeProvider:
        """The account under the resource's key `name`."""
        return RealtimeProvider(
            store=BatchStore(root=self.root).object_store,
            name=name,
            dialect=self.dialect,
            api_key=self.api_key,
            base_url=self.base_url,
            account_name=self.account_name,
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            timeout_seconds=self.timeout_seconds,
        )

    def offline(self, name: str) -> Provider:
        """As for others; neither the address nor the folder matters to the checks."""
        unknown = {"base_url": _UNKNOWN_URL, "root": "unknown"}
        found = {field: value for field, value in unknown.items() if _is_env(getattr(self, field))}
        return self.model_copy(update=found).offline(name) if found else super().offline(name)


class BatchStore(ConfigurableResource):  # type: ignore[type-arg]  # it gives itself
    """Where the state and the tables are: one folder or bucket, the only truth about what was sent and paid for."""

    root: str | None = Field(
        default=None,
        description="Folder of the store, or gs://bucket/folder; default: `batch_assets` in the storage folder of "
        "Dagster's home.",
    )
    namespace: str = Field(
        default="default",
        min_length=1,
        description="Name of the deployment. Two deployments with different namespaces never touch "
        "each other's batches.",
    )
    tables: str | None = Field(
        default=None,
        description="Folder of the tables (Parquet), or gs://bucket/folder; default: `tables` in the store's folder.",
    )
    gcs_project: str | None = Field(
        default=None, description="Google Cloud project of the bucket; default: the one of the environment."
    )
    hold: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: a backfill stays in progress until its tables have landed. `off`: the tables land as "
        "well, but Dagster shows the backfill as failed.",
    )
    wait_seconds: float | None = Field(
        default=None,
        gt=0,
        description="How long a run waits itself for its batches, in seconds, for tests and for dg.materialize. "
        "Default: it does not wait, it parks.",
    )

    _default_root: Path | None = PrivateAttr(default=None)
    _gcs: Any = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Find the default folder."""
        if self.root is None and context.instance is not None:
            self._default_root = default_root(context.instance)

    def object_store(self) -> ObjectStore:
        """The store. Raises ConfigError, StoreError."""
        root = self._root()
        if _is_bucket(root):
            from batch_assets.storage.gcs import GCSStore, split_url  # noqa: PLC0415 -- a second, for those who need it

            bucket, prefix = split_url(root)
            return GCSStore(bucket, prefix, self._client())
        return LocalStore(root)

    def ledger(self) -> Ledger:
        """The records in the store. Raises ConfigError, StoreError, UnknownFormat."""
        return Ledger.open(self.object_store(), self.namespace)

    def table_store(self) -> TableStore:
        """The published tables. Raises ConfigError."""
        root = self.tables or f"{self._root()}/tables"
        if _is_bucket(root):
            from batch_assets.storage.gcs_tables import GCSTableStore  # noqa: PLC0415 -- as above

            return GCSTableStore(root, self._client())
        return TableStore(Path(root).expanduser())

    def _client(self) -> Client:
        from dagster_gcp.gcs import GCSResource  # noqa: PLC0415 -- as above

        if self._gcs is None:
            self._gcs = GCSResource(project=self.gcs_project).get_client()
        return self._gcs

    def _root(self) -> str:
        if self.root is not None:
            return self.root.rstrip("/") if "://" in self.root else str(Path(self.root).expanduser())
        if self._default_root is None:
            raise ConfigError("BatchStore has no `root` and no Dagster instance to take a default from; set `root`")
        return str(self._default_root)


def _is_bucket(root: str) -> bool:
    if "://" in root and not root.startswith("gs://"):
        raise ConfigError(f"BatchStore: {root!r} is no place it can store in; give a folder or gs://bucket/folder")
    return root.startswith("gs://")


def default_root(instance: DagsterInstance) -> Path:
    """`batch_assets` in the storage folder of Dagster's home. Raises ConfigError where that folder does not last."""
    if type(instance).__module__.split(".")[0] == "dagster_cloud":
        raise ConfigError("On Dagster+ no folder outlasts a run: set `root` of BatchStore to shared storage")
    return Path(instance.storage_directory()) / "batch_assets"


def _is_env(value: object) -> bool:
    return isinstance(value, EnvVar) or type(value).__name__ == "IntEnvVar"
