"""How hosts that speak OpenAI's batch API differ from OpenAI, as data. A new host is one more record, or is
declared by its user: openai_differences.

Sources (read 2026-11; nothing here was tried on the hosts themselves): OpenAI's OpenAPI file 2.3.0; Microsoft's
reference of `POST /openai/v1/batches` and its batch guide; Groq's SDK 1.7; Doubleword's pages; LiteLLM's pages on
batches. What is uncertain says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

from batch_assets.parts import MediaLimits
from batch_assets.records import BatchPhase, Ending, Limits

URLS: Mapping[str, str] = MappingProxyType(
    {"chat": "/v1/chat/completions", "responses": "/v1/responses", "embeddings": "/v1/embeddings"}
)

_HALF = Decimal("0.5")

STATUSES: Mapping[str, tuple[BatchPhase, Ending | None]] = MappingProxyType(
    {
        "validating": (BatchPhase.RUNNING, None),
        "in_progress": (BatchPhase.RUNNING, None),
        "finalizing": (BatchPhase.RUNNING, None),
        "cancelling": (BatchPhase.CANCELING, None),
        "completed": (BatchPhase.ENDED, Ending.COMPLETED),
        "failed": (BatchPhase.ENDED, Ending.FAILED),
        "expired": (BatchPhase.ENDED, Ending.EXPIRED),
        "cancelled": (BatchPhase.ENDED, Ending.CANCELED),
    }
)


_WEB = frozenset({"https", "http", "bytes"})
_CHAT_CURES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("pdf https", "pdf http"), 'set endpoint="responses", which takes its address, or give bytes'),
        **dict.fromkeys(("image gs", "pdf gs"), "give a signed https:// URL, or bytes"),
    }
)

# Guides "Images and vision" and "File inputs" (read 2026-11): PNG, JPEG, WEBP and GIF by address or in base64; a PDF in
# base64, and by its address in the Responses API alone; 50 MB for the files of one request. The tokens are assumed: an
# image makes 85 to some 2,500, by model, size and detail; of a PDF's page its text and an image are sent.
OPENAI_MEDIA = MediaLimits(
    name="OpenAI's chat completions",
    image_types=frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"}),
    image_ways=_WEB,
    pdf_ways=frozenset({"bytes"}),
    max_image_bytes=50_000_000,
    max_pdf_bytes=50_000_000,
    image_tokens=1_500,
    page_tokens=2_000,
    cures=_CHAT_CURES,
)
OPENAI_RESPONSES_MEDIA = replace(OPENAI_MEDIA, name="OpenAI's responses", pdf_ways=_WEB)
_NO_MEDIA = replace(OPENAI_MEDIA, image_ways=frozenset(), pdf_ways=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIDialect:
    """One host's way of speaking OpenAI's API."""

    name: str
    """For people: `Azure OpenAI`."""
    vendor: str
    """For prices and fingerprints, as genai-prices calls it."""
    limits: Limits
    base_url: str | None = None
    """Root of the API; None where every account has its own."""
    key_variable: str | None
    """The environment variable of the API key; None: a host without keys is thinkable."""
    key_header: str | None = None
    """The header that carries the key alone; None: `Authorization: Bearer`."""
    urls: Mapping[str, str] = field(default_factory=lambda: URLS)
    """What each endpoint is called in the lines and the create call; one that is not there is refused."""
    windows: tuple[str, ...] = ("24h",)
    """Completion windows, the default first."""
    metadata: bool = True
    """False: a batch bears no stamp, and its input file tells whose it is."""
    statuses: Mapping[str, tuple[BatchPhase, Ending | None]] = field(default_factory=lambda: STATUSES)
    files_are_processed: bool = False
    """An uploaded file can be used only some time after its upload."""
    structured_output: Literal["json_schema", "json_object", "none"] = "json_schema"
    """`json_object`: the host promises JSON but no schema, so the schema is told in the system text."""
    chat_limit_param: str = "max_completion_tokens"
    """What `max_output_tokens` is called for chat completions."""
    local_models: bool = False
    """Model names mean something on this host only: its address is part of the fingerprint."""
    assumed_batch_discount: Decimal | None = None
    """Off the standard price where no batch price is published; None: such a cost is unknown."""
    media: Mapping[str, MediaLimits] = field(
        default_factory=lambda: {"chat": OPENAI_MEDIA, "responses": OPENAI_RESPONSES_MEDIA}
    )
    """Images and PDFs by endpoint; one that is not there takes texts alone."""
    console_url: str | None = None
    """Where a person looks at a batch; `{}` is its id."""
    queue_full_codes: frozenset[str] = frozenset({"token_limit_exceeded"})
    no_money_codes: frozenset[str] = frozenset(
        {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
    )


_OPENAI_LIMITS = Limits(
    max_requests=50_000,
    max_bytes=200_000_000,
    max_request_bytes=200_000_000,
    completion_window="24h",
    results_kept_days=30,
)

OPENAI = OpenAIDialect(
    name="OpenAI",
    vendor="openai",
    limits=_OPENAI_LIMITS,
    base_url="https://api.openai.com/v1",
    key_variable="OPENAI_API_KEY",
    assumed_batch_discount=_HALF,
    console_url="https://platform.openai.com/batches/{}",
)

# `model` is the name of a deployment of the kind Global Batch or Data Zone Batch. The guide says 100,000 requests a
# file, the reference of the same API 50,000: the lower one is kept to. Batches are not expired, they take longer; files
# are deleted after 14 to 30 days where that was asked for. Images and PDFs as at OpenAI, which is uncertain for PDFs.
AZURE = OpenAIDialect(
    name="Azure OpenAI",
    vendor="azure",
    limits=replace(_OPENAI_LIMITS, results_kept_days=14),
    key_variable="AZURE_OPENAI_API_KEY",
    key_header="api-key",
    files_are_processed=True,
    local_models=True,
    media={
        "chat": replace(OPENAI_MEDIA, name="Azure OpenAI's chat completions"),
        "responses": replace(OPENAI_RESPONSES_MEDIA, name="Azure OpenAI's responses"),
    },
    assumed_batch_discount=_HALF,
)

# Groq's page on vision, recalled and not read again (2026-11): 4 MB for what is sent in base64; no PDFs.
_GROQ_MEDIA = replace(_NO_MEDIA, name="Groq's batches", image_ways=_WEB, max_image_bytes=3_000_000)
# The SDK's docstring says 100 MB, the docs 200 MB: the lower one is kept to. A window is 24 h to 7 days. Batch and
# cached discounts do not stack, which a cost that is computed from published rates does not know. How long results are
# kept is uncertain.
GROQ = OpenAIDialect(
    name="Groq",
    vendor="groq",
    limits=replace(_OPENAI_LIMITS, max_bytes=100_000_000, max_request_bytes=100_000_000),
    base_url="https://api.groq.com/openai/v1",
    key_variable="GROQ_API_KEY",
    urls=MappingProxyType({"chat": URLS["chat"]}),
    windows=("24h", "48h", "72h", "96h", "120h", "144h", "7d"),
    media={"chat": _GROQ_MEDIA},
    assumed_batch_discount=_HALF,
    console_url="https://console.groq.com/batch",
)

# Uncertain: the limits (OpenAI's are assumed) and the windows besides 24 h. The price depends on the window, and
# genai-prices knows the real-time price only: the cost of a batch is unknown without `pricing`. Images as at OpenAI.
DOUBLEWORD = OpenAIDialect(
    name="Doubleword",
    vendor="doubleword",
    limits=_OPENAI_LIMITS,
    base_url="https://api.doubleword.ai/v1",
    key_variable="DOUBLEWORD_API_KEY",
    windows=("24h", "1h"),
    media={"chat": replace(_NO_MEDIA, name="Doubleword's batches", image_ways=_WEB)},
)

# LiteLLM's proxy passes batches on to what is behind it, and can route by the header `x-litellm-model`; a server of
# vLLM's behind it has a batch API of its own. Uncertain: whether metadata reaches a listing, which depends on what is
# behind; the input file decides where it does not.
GATEWAY = OpenAIDialect(
    name="an OpenAI-compatible gateway",
    vendor="gateway",
    limits=_OPENAI_LIMITS,
    key_variable=None,
    local_models=True,
    media={
        "chat": replace(OPENAI_MEDIA, name="the gateway's chat completions"),
        "responses": replace(OPENAI_RESPONSES_MEDIA, name="the gateway's responses"),
    },
)

# No batch API (2026-11, as far as can be seen). JSON without a schema. Prices change with the hour of the day, which
# genai-prices knows.
DEEPSEEK = OpenAIDialect(
    name="DeepSeek",
    vendor="deepseek",
    limits=_OPENAI_LIMITS,
    base_url="https://api.deepseek.com",
    key_variable="DEEPSEEK_API_KEY",
    urls=MappingProxyType({"chat": URLS["chat"]}),
    structured_output="json_object",
    chat_limit_param="max_tokens",
    media={"chat": replace(_NO_MEDIA, name="DeepSeek's chat completions")},
    no_money_codes=frozenset({"insufficient_balance"}),
)

PRESETS: Mapping[str, OpenAIDialect] = MappingProxyType(
    {"azure": AZURE, "groq": GROQ, "doubleword": DOUBLEWORD, "gateway": GATEWAY}
)
"""Hosts with a batch API."""

REALTIME_PRESETS: Mapping[str, OpenAIDialect] = MappingProxyType({"deepseek": DEEPSEEK, "openai": OPENAI, **PRESETS})
"""Hosts with a chat endpoint."""
