"""Single Gemini requests: what is in a GenerateContentRequest, and the GenerateContentResponse to it.

Facts: the v1beta reference and google-genai 3.4, read 2026-11. Both spellings of a field, camelCase and snake_case, are
understood, as JSON of protocol buffers is. Not exhaustive: it looks for the mistakes that a client of a batch makes.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from batch_assets.emulator import media
from batch_assets.emulator.batches import Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.gemini_errors import error_body
from batch_assets.emulator.speech import Ask, Said, say

_KEYS = frozenset(
    {
        *("contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig"),
        *("cachedContent", "labels", "model", "serviceTier", "store"),
    }
)
_CONFIG_KEYS = frozenset(
    {
        *("stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema", "responseModalities"),
        *("candidateCount", "maxOutputTokens", "temperature", "topP", "topK", "seed", "presencePenalty"),
        *("frequencyPenalty", "responseLogprobs", "logprobs", "enableEnhancedCivicAnswers", "speechConfig"),
        *("thinkingConfig", "imageConfig", "mediaResolution", "audioTimestamp", "routingConfig", "serviceTier"),
    }
)
_MEDIA = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", media.PDF)
_TEXTS = ("text/plain", "text/html", "text/css", "text/md", "text/csv", "text/xml", "text/rtf")
_OTHER = ("audio/", "video/")
_TILE_TOKENS, _TILE_PIXELS = 258, 768 * 768
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_JSON = "application/json"


@dataclass(slots=True)
class Reply:
    """One answer; an error is not billed. `body` is the response, or {"error": ...}."""

    status: int
    body: dict[str, Any]
    usage: Usage

    @property
    def ok(self) -> bool:
        return self.status < 400


class Invalid(Exception):
    """A single request is answered with status 400."""


def reply(model: str, request: dict[str, Any], fingerprint: bytes, *, labels: bool, fault: Fault | None) -> Reply:
    """The answer to a GenerateContentRequest, a function of the arguments; `labels`: whether it may have some."""
    if fault is not None and fault.fault == "request_error":
        status = int(fault.params["status"])
        code = fault.params["code"] if str(fault.params["code"]).isupper() else None
        return Reply(status=status, body=error_body(status, fault.params["message"], code), usage=Usage())
    try:
        ask = read_request(model, request, labels=labels)
        try:
            said = say(ask, fault)
        except ValueError as error:
            raise Invalid(f"Invalid JSON schema: {error}") from None
    except Invalid as error:
        return Reply(status=400, body=error_body(400, str(error)), usage=Usage())
    return Reply(status=200, body=_response(ask, said, fingerprint.hex()), usage=said.usage)


def read_request(model: str, request: dict[str, Any], *, labels: bool) -> Ask:
    """Raises Invalid."""
    given = _camel(request)
    for key in given:
        if key not in _KEYS or (key == "labels" and not labels):
            raise Invalid(f'Invalid JSON payload received. Unknown name "{key}": Cannot find field.')
    ask = Ask(model=model)
    schemes = ("gs", "https", "http") if labels else ("https",)
    contents = given.get("contents")
    contents = [contents] if isinstance(contents, dict) else contents
    if not isinstance(contents, list) or not contents:
        raise Invalid("* GenerateContentRequest.contents: contents is not specified")
    if (system := given.get("systemInstruction")) is not None:
        ask.before.append(_text(ask, system, "system_instruction", schemes))
    texts = [_text(ask, content, f"contents[{place}]", schemes) for place, content in enumerate(contents)]
    if not contents or contents[-1].get("role", "user") != "user":
        raise Invalid("Please ensure that multiturn requests end with a user role.")
    ask.prompt = texts.pop()
    ask.before += texts
    _config(ask, given.get("generationConfig"))
    for name, value in (given.get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value) or not _LABEL.fullmatch(name):
            raise Invalid(f"Invalid label '{name}': only lowercase letters, digits, '_' and '-', up to 63 characters.")
    return ask


def _text(ask: Ask, content: Any, where: str, schemes: tuple[str, ...]) -> str:
    if isinstance(content, dict) and content.get("role", "user") not in ("user", "model", "system", "function"):
        raise Invalid("Please use a valid role: user, model.")
    parts = content.get("parts") if isinstance(content, dict) else None
    parts = [parts] if isinstance(parts, dict) else parts
    if not isinstance(parts, list) or not parts:
        raise Invalid(f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.")
    texts = []
    for part in map(_camel, parts):
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif "inlineData" in part or "fileData" in part:
            ask.extra_tokens += _media_tokens(part, schemes)
        elif not part.keys() & {"functionCall", "functionResponse", "thought", "executableCode"}:
            raise Invalid(f"* GenerateContentRequest.{where}.parts.data: required oneof field 'data' must have one.")
    return "\n".join(texts)


def _media_tokens(part: dict[str, Any], schemes: tuple[str, ...]) -> int:
    """What an image or a document costs. An address of Cloud Storage is understood by Vertex AI alone."""
    name, field = ("inlineData", "data") if "inlineData" in part else ("fileData", "fileUri")
    given = _camel(part[name])
    if unknown := sorted(given.keys() - {"mimeType", "displayName", field}):
        raise Invalid(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
    kind = given.get("mimeType")
    if not isinstance(kind, str) or not kind:
        raise Invalid(f"Unable to submit request because it must have a mimeType parameter in {name}.")
    if kind not in (*_MEDIA, *_TEXTS) and not kind.startswith(_OTHER):
        raise Invalid(f"Unsupported MIME type: {kind}")
    try:
        if name == "fileData":
            media.at_url(given.get(field), (), schemes)
            data = None
        else:
            data = media.checked(given.get(field), kind, _MEDIA) if kind in _MEDIA else media.decode(given.get(field))
    except media.Unreadable as error:
        raise Invalid(f"Invalid or unsupported {name}: {error}.") from None
    if kind.startswith("image/"):
        return _TILE_TOKENS * max(1, -(-media.pixels(data) // _TILE_PIXELS))
    return _TILE_TOKENS * media.pages(data)


def _config(ask: Ask, config: Any) -> None:
    given = _camel(config or {})
    if unknown := sorted(given.keys() - _CONFIG_KEYS):
        message = (
            f"Invalid JSON payload received. Unknown name \"{unknown[0]}\" at 'generation_config': Cannot find field."
        )
        raise Invalid(message)
    ask.choices = given.get("candidateCount") or 1
    ask.max_tokens = given.get("maxOutputTokens")
    if ask.max_tokens is not None and (not isinstance(ask.max_tokens, int) or ask.max_tokens < 1):
        raise Invalid("max_output_tokens must be positive.")
    temperature = given.get("temperature")
    if temperature is not None and (not isinstance(temperature, int | float) or not 0 <= temperature <= 2):
        raise Invalid("The value of temperature must be in the range [0.0, 2.0].")
    schema = given.get("responseJsonSchema", given.get("responseSchema"))
    if schema is not None and given.get("responseMimeType") != _JSON:
        raise Invalid("Response schema is only allowed with response_mime_type application/json.")
    if schema is not None:
        ask.schema = orjson.dumps(_plain(schema))
    ask.json_object = schema is None and given.get("responseMimeType") == _JSON


def _plain(schema: Any) -> Any:
    """A schema with the types of responseSchema (OBJECT, STRING, `nullable`) in the words of JSON Schema."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items() if key != "nullable"}
    if isinstance(plain.get("type"), str):
        plain["type"] = plain["type"].lower()
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def _camel(value: Any) -> dict[str, Any]:
    """The object with the names of its own fields in camelCase."""
    if not isinstance(value, dict):
        raise Invalid("Invalid JSON payload received: expected an object.")
    return {re.sub(r"_([a-z])", lambda found: found[1].upper(), key): each for key, each in value.items()}


def _response(ask: Ask, said: Said, key: str) -> dict[str, Any]:
    usage = said.usage
    counted: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }
    if usage.cached:
        counted["cachedContentTokenCount"] = usage.cached
    body: dict[str, Any] = {"usageMetadata": counted, "modelVersion": ask.model, "responseId": key[:22]}
    if said.refusal:
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **body}
    candidate: dict[str, Any] = {"finishReason": _FINISH[said.finish], "index": 0}
    if said.finish != "content_filter":
        candidate["content"] = {"parts": [{"text": said.text}], "role": "model"}
    return {"candidates": [{**candidate, "index": index} for index in range(ask.choices)], **body}
