"""Resources of the providers' own batch APIs. Every field says what it is and in which unit; secrets are not shown.

An adapter is imported when it is needed: the SDKs take up to a second each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from dagster import ConfigurableResource, EnvVar
from pydantic import Field

from batch_assets.admission import QueueLimits
from batch_assets.dagster.store import gcs_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_assets.providers.anthropic import AnthropicProvider
    from batch_assets.providers.gemini import GeminiProvider
    from batch_assets.providers.mistral import MistralProvider
    from batch_assets.providers.openai import OpenAIProvider
    from batch_assets.providers.protocol import Provider
    from batch_assets.providers.vertex import VertexProvider

TIMEOUT = "How long one read of a connection may take, in seconds (uploads, downloads)."
EMULATED = "emulated"
"""What stands at the emulator in the place of a key, a project, a bucket."""
_UNKNOWN = {
    "base_url": "https://unset.invalid",
    "server_url": "https://unset.invalid",
    "gcs_folder": "gs://unknown",
    "root": "unknown",
}
"""What stands when definitions load in the place of an address or a folder that is known in the run only."""
RETRIES = "Retries of calls that only read or upload. A create call is never retried."


def api_key(default: str) -> Any:
    """The field of a secret; `default` says where it is looked for."""
    return Field(default=None, repr=False, description=f"API key; default: the environment variable {default}.")


class BatchProviderResource(ConfigurableResource, ABC):  # type: ignore[type-arg]  # it gives itself
    """Base of the providers' resources. Subclass it to add a provider."""

    max_open_batches: int | None = Field(
        default=None, ge=1, description="Batches of ours that may be open at one time; default: no limit of ours."
    )
    max_enqueued_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Input tokens, as estimated, of our open batches at one time; default: no limit of ours, the "
        "provider says when its queue is full.",
    )

    @abstractmethod
    def provider(self, name: str) -> Provider:
        """The account under the resource's key `name`."""

    def offline(self, name: str) -> Provider:
        """The same without its secrets, to check requests by when definitions load; it can send nothing.

        Raises ConfigError for a setting that cannot be right. One that is known in the run only is not judged.
        """
        unknown = {field: value for field, value in _UNKNOWN.items() if is_env(getattr(self, field, None))}
        return type(self)(**{**self._known(), **unknown}).provider(name)

    def emulated(self, addresses: Mapping[str, str], folder: str) -> BatchProviderResource:
        """The same at the emulator, for tests; one that the emulator does not speak is given back as it is.

        `addresses` are the emulator's, by provider; what the resource keeps itself goes to `folder`.
        """
        changes = self._emulator_settings(addresses, folder)
        return type(self)(**{**self._known(), **changes}) if changes else self

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        """What is different at the emulator."""
        return {}

    def _known(self) -> dict[str, Any]:
        """The fields whose values are known before the run."""
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        return {field: value for field, value in fields.items() if not is_env(value)}

    def queue_limits(self) -> QueueLimits:
        """What may be at the provider at one time."""
        return QueueLimits(max_open_batches=self.max_open_batches, max_enqueued_tokens=self.max_enqueued_tokens)


class OpenAIBatchResource(BatchProviderResource):
    """An account at OpenAI, or at a server that speaks its batch API."""

    api_key: str | None = api_key("OPENAI_API_KEY")
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
    timeout_seconds: float = Field(default=600, gt=0, description=TIMEOUT)
    max_retries: int = Field(default=2, ge=0, description=RETRIES)

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return {"api_key": EMULATED, "base_url": addresses["openai"]}

    def provider(self, name: str) -> OpenAIProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.openai import OpenAIProvider  # noqa: PLC0415

        return OpenAIProvider(
            name=name,
            api_key=self.api_key,
            base_url=self.base_url,
            organization=self.organization,
            project=self.project,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
            queue=self.queue_limits(),
        )


class AnthropicBatchResource(BatchProviderResource):
    """A workspace at Anthropic."""

    api_key: str | None = api_key("ANTHROPIC_API_KEY")
    base_url: str | None = Field(
        default=None,
        description="Root of the API, without /v1; default: the environment variable ANTHROPIC_BASE_URL, else "
        "https://api.anthropic.com.",
    )
    workspace: str | None = Field(
        default=None,
        description="Name of the key's workspace, where several keys belong to different ones. Its id, `wrkspc_...`, "
        "is sent with every call, so that a key of another workspace is refused.",
    )
    prompt_caching: bool = Field(
        default=False,
        description="Mark the system text to be cached for an hour: worthwhile where it is long. Writing it costs "
        "twice the input price, reading it a tenth.",
    )
    timeout_seconds: float = Field(default=600, gt=0, description=TIMEOUT)
    max_retries: int = Field(default=2, ge=0, description=RETRIES)

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return {"api_key": EMULATED, "base_url": addresses["anthropic"]}

    def provider(self, name: str) -> AnthropicProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.anthropic import AnthropicProvider  # noqa: PLC0415

        return AnthropicProvider(
            name=name,
            api_key=self.api_key,
            base_url=self.base_url,
            workspace=self.workspace,
            prompt_caching=self.prompt_caching,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
            queue=self.queue_limits(),
        )


class GeminiBatchResource(BatchProviderResource):
    """A project at Google AI Studio (Gemini API). Needs the extra: `pip install "batch-assets[gemini]"`."""

    api_key: str | None = api_key("GEMINI_API_KEY, else GOOGLE_API_KEY")
    base_url: str | None = Field(
        default=None,
        description="Root of the API, without a version; default: the environment variable GOOGLE_GEMINI_BASE_URL, "
        "else https://generativelanguage.googleapis.com.",
    )
    project: str | None = Field(
        default=None, description="Name of the key's project, where several keys belong to different ones."
    )
    inline_bytes: int = Field(
        default=500_000,
        ge=0,
        le=15_000_000,
        description="Requests of so many bytes at most go with the create call, without an input file; 0: never.",
    )
    timeout_seconds: float = Field(default=300, gt=0, description=TIMEOUT)
    max_retries: int = Field(default=2, ge=0, description=RETRIES)

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return {"api_key": EMULATED, "base_url": addresses["gemini"]}

    def provider(self, name: str) -> GeminiProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.gemini import GeminiProvider  # noqa: PLC0415

        return GeminiProvider(
            name=name,
            api_key=self.api_key,
            base_url=self.base_url,
            project=self.project,
            inline_bytes=self.inline_bytes,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
            queue=self.queue_limits(),
        )


class VertexBatchResource(BatchProviderResource):
    """A project and location at Google Vertex AI; input and predictions go through a bucket.

    Needs the extra: `pip install "batch-assets[vertex]"`. Credentials are Google's application default credentials.
    """

    project: str | None = Field(
        default=None, description="Google Cloud project; default: the environment variable GOOGLE_CLOUD_PROJECT."
    )
    location: str | None = Field(
        default=None,
        description="Location of the jobs, `europe-west4`, `eu` or `global` say; default: the environment variable "
        "GOOGLE_CLOUD_LOCATION.",
    )
    gcs_folder: str = Field(
        description="gs://bucket/folder for inputs and predictions. What stays there is deleted by the bucket's own "
        "lifecycle rules."
    )
    gcs: ConfigurableResource | None = Field(  # type: ignore[type-arg]  # by its base: dagster_gcp takes half a second
        default=None,
        description="`dagster_gcp.GCSResource` of the bucket; default: the project above, credentials of the "
        "environment.",
    )
    base_url: str | None = Field(
        default=None,
        description="Root of the API; default: the environment variable GOOGLE_VERTEX_BASE_URL, else the location's.",
    )
    timeout_seconds: float = Field(default=300, gt=0, description=TIMEOUT)
    max_retries: int = Field(default=2, ge=0, description=RETRIES)

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return {
            "project": EMULATED,
            "location": "global",
            "gcs_folder": f"gs://{EMULATED}/batches",
            "gcs": None,
            "base_url": addresses["vertex"],
        }

    def provider(self, name: str) -> VertexProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.vertex import VertexProvider  # noqa: PLC0415

        return VertexProvider(
            name=name,
            project=self.project,
            location=self.location,
            gcs_folder=self.gcs_folder,
            storage_client=None if self.gcs is None else partial(gcs_client, self.gcs),
            base_url=self.base_url,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
            queue=self.queue_limits(),
        )


class MistralBatchResource(BatchProviderResource):
    """An account at Mistral. Needs the extra: `pip install "batch-assets[mistral]"`."""

    api_key: str | None = api_key("MISTRAL_API_KEY")
    server_url: str | None = Field(default=None, description="Root of the API; default: https://api.mistral.ai.")
    workspace: str | None = Field(
        default=None, description="Name of the workspace, where several keys belong to different ones."
    )
    timeout_seconds: float = Field(default=300, gt=0, description=TIMEOUT)
    max_retries: int = Field(default=2, ge=0, description=RETRIES)

    def _emulator_settings(self, addresses: Mapping[str, str], folder: str) -> dict[str, Any]:
        return {"api_key": EMULATED, "server_url": addresses["mistral"]}

    def provider(self, name: str) -> MistralProvider:
        """The account under the resource's key `name`."""
        from batch_assets.providers.mistral import MistralProvider  # noqa: PLC0415

        return MistralProvider(
            name=name,
            api_key=self.api_key,
            server_url=self.server_url,
            workspace=self.workspace,
            timeout_seconds=self.timeout_seconds,
            max_retries=self.max_retries,
            queue=self.queue_limits(),
        )


def is_env(value: object) -> bool:
    """Whether a field's value is not known before the run."""
    return isinstance(value, EnvVar) or type(value).__name__ == "IntEnvVar"
