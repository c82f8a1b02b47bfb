"""The `params` of single Anthropic requests: what is in them, and what the API answers with an error.

Facts: SDK types 2.12, the batch guide and the versioning page, read 2026-11; the words are those of similar errors. Not
exhaustive: it looks for the mistakes that a client of the batch API makes.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from batch_assets.emulator import media
from batch_assets.emulator.anthropic_schema import objection

OLD_VERSION = "2023-06-01"
NEW_VERSION = "2026-10-21"
VERSIONS = (OLD_VERSION, NEW_VERSION)

_KEYS = frozenset(
    {
        *("cache_control", "container", "context_management", "diagnostics", "inference_geo", "max_tokens"),
        *("mcp_servers", "messages", "metadata", "model", "output_config", "service_tier", "stop_sequences", "stream"),
        *("system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p", "user_profile_id"),
    }
)
_SAMPLING = ("temperature", "top_p", "top_k")
_NOT_IN_BATCHES = (
    *("speed", "store", "previous_thread_event_id", "cache_hint", "context_hint", "research_preview_2026_02"),
)
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_MAX_IMAGE_BYTES = 5 * 1024 * 1024  # of base64
_MAX_PAGES = 100
_PAGE_TOKENS = 1_500
_TEXT_BLOCKS = frozenset(
    {"text", "tool_use", "tool_result", "search_result", "server_tool_use", "web_search_tool_result"}
)
_EFFORTS = ("low", "medium", "high", "xhigh", "max", None)


class Invalid(Exception):
    """A single request is answered with an `invalid_request_error`."""


class UnknownModel(Invalid):
    """It is answered with a `not_found_error`."""


@dataclass(slots=True)
class Part:
    """One block of a request, in the order of a prompt cache: tools, system, messages."""

    text: str
    tokens: int = 0  # of an image or a document
    cached_for: str | None = None  # "5m" or "1h" where a cache breakpoint stands behind it
    repeated: bool = False  # the same in every request of a batch, most likely


@dataclass(slots=True)
class Ask:
    """A request in the emulator's terms."""

    model: str
    max_tokens: int
    parts: list[Part] = field(default_factory=list)
    prompt: str = ""  # the last user message
    schema: bytes | None = None  # canonical JSON, when the answer has to fit one
    stop_sequences: list[str] = field(default_factory=list)


def read_params(params: dict[str, Any], version: str) -> Ask:
    """Raises Invalid."""
    _check_keys(params, version)
    ask = Ask(model=params["model"], max_tokens=params["max_tokens"])
    for tool in params.get("tools") or ():
        ask.parts.append(Part(orjson.dumps(tool).decode(), cached_for=_breakpoint(tool), repeated=True))
    system = params.get("system") or []
    for place, block in enumerate([{"type": "text", "text": system}] if isinstance(system, str) else system):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise Invalid(f"system.{place}: Input should be a text block")
        ask.parts.append(Part(_not_empty(block["text"], "system"), cached_for=_breakpoint(block), repeated=True))
    _messages(ask, params["messages"])
    if params.get("cache_control") is not None:
        ask.parts[-1].cached_for = _breakpoint(params)
    _output(ask, params.get("output_config"))
    ask.stop_sequences = [str(each) for each in params.get("stop_sequences") or ()]
    return ask


def _check_keys(params: dict[str, Any], version: str) -> None:
    for key in ("max_tokens", "messages", "model"):
        if params.get(key) is None:
            raise Invalid(f"{key}: Field required")
    for key in params:
        if key in _NOT_IN_BATCHES:
            raise Invalid(f"{key}: not supported in the Message Batches API")
        if key not in _KEYS:
            raise Invalid(f"{key}: Extra inputs are not permitted")
        if key in _SAMPLING and version == NEW_VERSION:
            raise Invalid(f"{key}: not supported in API version {version}")
    if params.get("stream"):
        raise Invalid("stream: streaming is not supported in the Message Batches API")
    if params.get("service_tier", "auto") not in ("auto", "standard_only"):
        raise Invalid("service_tier: Input should be 'auto' or 'standard_only'")
    _check_values(params)


def _check_values(params: dict[str, Any]) -> None:
    if not isinstance(params["model"], str) or not params["model"]:
        raise Invalid("model: Input should be a valid string")
    most = params["max_tokens"]
    if not isinstance(most, int) or isinstance(most, bool):
        raise Invalid("max_tokens: Input should be a valid integer")
    if most < 1:
        raise Invalid("max_tokens: Input should be greater than or equal to 1")
    for key in ("temperature", "top_p"):
        if (value := params.get(key)) is not None and (not isinstance(value, int | float) or not 0 <= value <= 1):
            raise Invalid(f"{key}: Input should be from 0 to 1")


def _messages(ask: Ask, messages: Any) -> None:
    """The texts of `messages`, the last user message apart as the prompt, too."""
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages: at least one message is required")
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            raise Invalid(f"messages.{place}.role: Input should be 'user' or 'assistant'")
        if place == 0 and role != "user":
            raise Invalid('messages: first message must use the "user" role')
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise Invalid(f"messages.{place}.content: Input should be a valid string or list")
        if not content and (role == "user" or place < len(messages) - 1):
            raise Invalid(f"messages.{place}: all messages must have non-empty content")
        parts = [_part(block, f"messages.{place}.content.{i}") for i, block in enumerate(content)]
        ask.parts += parts
        if role == "user":
            ask.prompt = "\n".join(part.text for part in parts if part.text)


def _part(block: Any, where: str) -> Part:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise Invalid(f"{where}.text.text: Input should be a valid string")
        return Part(_not_empty(block["text"], "messages"), cached_for=_breakpoint(block))
    if kind in ("image", "document"):
        return _media(block, kind, f"{where}.{kind}")
    if kind in ("thinking", "redacted_thinking"):
        return Part("", cached_for=_breakpoint(block))
    if kind in _TEXT_BLOCKS:
        return Part(orjson.dumps(block).decode(), cached_for=_breakpoint(block))
    raise Invalid(f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")


_BLOCK_KEYS = {"image": {"type", "source"}, "document": {"type", "source", "title", "context", "citations"}}
_SOURCE_KEYS = {"base64": {"media_type", "data"}, "url": {"url"}, "file": {"file_id"}, "text": {"media_type", "data"}}


def _media(block: dict[str, Any], kind: str, where: str) -> Part:
    """An image or a document (pages on vision and PDF support, and the SDK's types; read 2026-11)."""
    source = block.get("source")
    sort = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or sort not in _SOURCE_KEYS or (sort == "text" and kind == "image"):
        raise Invalid(f"{where}.source: Input tag '{sort}' does not match any of the expected tags")
    extra = [*(block.keys() - _BLOCK_KEYS[kind] - {"cache_control"}), *(source.keys() - _SOURCE_KEYS[sort] - {"type"})]
    if extra:
        raise Invalid(f"{where}.{min(extra)}: Extra inputs are not permitted")
    if missing := [key for key in sorted(_SOURCE_KEYS[sort]) if not isinstance(source.get(key), str)]:
        raise Invalid(f"{where}.source.{sort}.{missing[0]}: Field required")
    control = _breakpoint(block)
    if sort == "text":
        return Part(_not_empty(source["data"], "messages"), cached_for=control)
    try:
        if sort == "url":
            media.at_url(source["url"], (), ("https",))
        data = None
        if sort == "base64":
            data = media.checked(source["data"], source["media_type"], _IMAGES if kind == "image" else (media.PDF,))
    except media.Unreadable as error:
        raise Invalid(f"{where}.source.{sort}: {error}") from None
    if kind == "image":
        if data is not None and len(source["data"]) > _MAX_IMAGE_BYTES:
            size = f"{len(source['data'])} bytes > {_MAX_IMAGE_BYTES} bytes"
            raise Invalid(f"{where}.source.base64: image exceeds 5 MB maximum: {size}")
        return Part("", tokens=min(1_600, media.pixels(data) // 750 + 130), cached_for=control)
    if media.pages(data) > _MAX_PAGES:
        raise Invalid(f"{where}.source.base64: A maximum of {_MAX_PAGES} PDF pages may be provided.")
    return Part("", tokens=_PAGE_TOKENS * media.pages(data), cached_for=control)


def _not_empty(text: str, what: str) -> str:
    if not text.strip():
        raise Invalid(f"{what}: text content blocks must contain non-whitespace text")
    return text


def _breakpoint(block: dict[str, Any]) -> str | None:
    control = block.get("cache_control")
    if control is None:
        return None
    if (
        not isinstance(control, dict)
        or control.get("type") != "ephemeral"
        or control.get("ttl", "5m") not in ("5m", "1h")
    ):
        raise Invalid("cache_control: Input should be {'type': 'ephemeral', 'ttl': '5m' or '1h'}")
    return str(control.get("ttl", "5m"))


def _output(ask: Ask, config: Any) -> None:
    if config is None:
        return
    if not isinstance(config, dict) or config.keys() - {"effort", "format"}:
        raise Invalid("output_config: Input should have 'effort' and 'format' only")
    if config.get("effort") not in _EFFORTS:
        raise Invalid("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    form = config.get("format")
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise Invalid("output_config.format: Input should be {'type': 'json_schema', 'schema': {...}}")
    if unknown := form.keys() - {"type", "schema"}:
        raise Invalid(f"output_config.format.{min(unknown)}: Extra inputs are not permitted")
    ask.schema = orjson.dumps(form["schema"])
    if found := objection(ask.schema):
        raise Invalid(f"output_config.format.schema: {found}")
