"""Lines of Gemini's batches, at the Developer API and at Vertex AI: requests written, results read.

Facts (v1beta reference, google-genai 3.4 and users' code, read 2026-11; nothing was tried on Google): a line of the
Developer API is {key, request} and its result {key, response} or {key, error}; one of Vertex AI is {request}, and its
result {status, request, response} repeats the request: the id stands in a label of it, whose value takes 63 characters
of a-z, 0-9, `_` and `-`. Uncertain: the words of `status` of a failed line, and whether its JSON is always there.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from batch_assets.dialects import OPENAI_STRICT, check_json_schema
from batch_assets.errors import ConfigError
from batch_assets.providers.gemini_parts import GEMINI, VERTEX, parts_form
from batch_assets.providers.params import check_params
from batch_assets.providers.protocol import ResultLine
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from batch_assets.parts import PartsForm
    from batch_assets.records import Request

LABEL = "batch_assets_id"
"""The label of a request that carries its custom_id, at Vertex AI."""

_OF_REQUEST = frozenset({"safetySettings", "safety_settings", "tools", "toolConfig", "tool_config"})
"""Parameters that stand beside the contents; all others are of `generationConfig`."""
_REFUSED_PARAMS = {
    "stream": "a batch has no stream",
    "contents": "the prompt makes the contents",
    "model": "set `model`",
    "systemInstruction": "set `system`",
    "maxOutputTokens": "set `max_output_tokens`",
    "candidateCount": "a row has one response",
    "responseMimeType": "set `output_type`",
    "responseSchema": "set `output_type`",
    "responseJsonSchema": "set `output_type`",
    "responseModalities": "a row's response is text",
    "generationConfig": "name its fields themselves",
    "labels": "they carry the ids of the requests",
    "cachedContent": "cached contents expire, and Vertex AI refuses them in a batch",
    # Guides "Flex inference" and "Priority inference" (read 2026-11): GenerateContent and Interactions, synchronous.
    "serviceTier": "tiers are of calls one by one; a batch is one of its own, and what it does with another is not "
    "documented",
}
_HARMLESS_PARAMS: Mapping[str, Sequence[Any]] = {"candidateCount": (1,), "responseModalities": (["TEXT"],)}

# `responseJsonSchema` takes $defs, $ref, type, format, title, description, enum, items, prefixItems, minItems,
# maxItems, minimum, maximum, anyOf, oneOf, properties, additionalProperties and required (google-genai 3.4).
# What an answer is held to beyond that is told to the model in words, and checked when the answer is read.
_SENT = frozenset(
    {
        *("$defs", "$ref", "type", "description", "enum", "items", "minItems", "maxItems", "minimum", "maximum"),
        *("anyOf", "properties", "additionalProperties", "required"),
    }
)
_FORMATS = frozenset({"date-time", "date", "time"})
DIALECT = replace(
    OPENAI_STRICT,
    name="Gemini's JSON schema mode",
    lookaround=True,
    max_properties=None,
    max_depth=None,
    max_enum_values=None,
    large_enum_values=None,
    large_enum_characters=None,
    max_name_characters=None,
)

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_FILTERED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY", "MODEL_ARMOR"}
)


def check_request(request: Request) -> None:
    """Refuse what Gemini's batches would refuse. Raises ConfigError, SchemaError."""
    if request.endpoint != "chat":
        raise ConfigError(f"`endpoint` is {request.endpoint!r}; batches of Gemini take `chat` only")
    if not request.model:
        raise ConfigError("`model` is empty; name the provider's model, `gemini-3-flash-preview` say")
    names = {param: _camel(param) for param in request.params}
    refused = {param: _REFUSED_PARAMS[name] for param, name in names.items() if name in _REFUSED_PARAMS}
    harmless = {param: _HARMLESS_PARAMS.get(name, ()) for param, name in names.items()}
    check_params(request.params, refused, harmless=harmless)
    if request.json_schema is not None:
        check_json_schema(request.json_schema, DIALECT)


_TEXT, _TEXT_END = b'[{"text":', b"}]"
_BLANKS = b" " * len(_TEXT + _TEXT_END)
"""Around the array of a content with images, in the place of what stands around a text: all lines weigh the same."""


class LineEnvelope:
    """The constant part of the lines of one plan: `body` with one hole for the custom_id and one for the content."""

    def __init__(self, body: dict[str, Any], id_hole: str, content_hole: str, parts: PartsForm) -> None:
        start, rest = orjson.dumps(body).split(id_hole.encode())
        middle, end = rest.split(_TEXT + b'"' + content_hole.encode() + b'"' + _TEXT_END)
        self._start, self._middle, self._end = start, middle, end + b"\n"
        self.overhead_bytes = len(self._start) + 63 + len(self._middle) + len(_BLANKS) + len(self._end)
        self.parts: PartsForm | None = parts

    def lines(self, custom_ids: Iterable[str], contents: Iterable[bytes]) -> Iterator[bytes]:
        """The wire lines, each with its line feed."""
        for custom_id, content in zip(custom_ids, contents, strict=True):
            before, after = (_TEXT, _TEXT_END) if content.startswith(b'"') else (_BLANKS, b"")
            yield b"".join((self._start, custom_id.encode(), self._middle, before, content, after, self._end))


def keyed_envelope(request: Request) -> LineEnvelope:
    """Lines of the Developer API: {key, request}."""
    id_hole, content_hole = secrets.token_hex(16), secrets.token_hex(16)
    return LineEnvelope(
        {"key": id_hole, "request": _body(request, content_hole)}, id_hole, content_hole, parts_form(GEMINI)
    )


def labelled_envelope(request: Request) -> LineEnvelope:
    """Lines of Vertex AI: {request}, with the id in a label."""
    id_hole, content_hole = secrets.token_hex(16), secrets.token_hex(16)
    body = {"labels": {LABEL: id_hole}, **_body(request, content_hole)}
    return LineEnvelope({"request": body}, id_hole, content_hole, parts_form(VERTEX))


def _body(request: Request, content: str) -> dict[str, Any]:
    body = {name: value for name, value in request.params.items() if name in _OF_REQUEST}
    config = {name: value for name, value in request.params.items() if name not in _OF_REQUEST}
    if request.max_output_tokens is not None:
        config["maxOutputTokens"] = request.max_output_tokens
    if request.json_schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": sent_schema(request.json_schema)}
    if request.system is not None:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    body["contents"] = [{"role": "user", "parts": [{"text": content}]}]
    return {**body, "generationConfig": config} if config else body


def sent_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in what `responseJsonSchema` takes; the rest is put into descriptions."""
    sent: dict[str, Any] = {}
    told: list[str] = []
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs"):
            sent[keyword] = {name: sent_schema(each) for name, each in value.items()}
        elif keyword == "anyOf":
            sent[keyword] = [sent_schema(each) for each in value]
        elif keyword == "items":
            sent[keyword] = sent_schema(value)
        elif keyword == "const":
            sent["enum"] = [value]
        elif keyword in _SENT or (keyword == "format" and value in _FORMATS):
            sent[keyword] = value
        else:
            told.append(f"{keyword}: {value}")
    if told:
        sent["description"] = f"{sent.get('description', '')} ({', '.join(told)})".strip()
    return sent


# ---------------------------------------------------------------- results


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    thought: bool = False


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Usage(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Response(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None


class _Error(msgspec.Struct, gc=False):
    code: int | None = None
    message: str | None = None
    status: str | None = None


class _Keyed(msgspec.Struct, gc=False):
    key: str


class _KeyedLine(msgspec.Struct, gc=False):
    key: str
    response: _Response | None = None
    error: _Error | None = None
    status: _Error | None = None


class _Labels(msgspec.Struct, gc=False):
    batch_assets_id: str


class _Request(msgspec.Struct, gc=False):
    labels: _Labels


class _Labelled(msgspec.Struct, gc=False):
    request: _Request


class _LabelledLine(msgspec.Struct, gc=False):
    request: _Request
    status: str | _Error | None = None
    response: _Response | None = None


class _Wrapped(msgspec.Struct, gc=False):
    error: _Error


_KEY_DECODER = msgspec.json.Decoder(_Keyed)
_KEYED_DECODER = msgspec.json.Decoder(_KeyedLine)
_LABEL_DECODER = msgspec.json.Decoder(_Labelled)
_LABELLED_DECODER = msgspec.json.Decoder(_LabelledLine)


def read_key(line: bytes) -> str | None:
    """The custom_id of a result line of the Developer API."""
    try:
        return _KEY_DECODER.decode(line).key
    except msgspec.MsgspecError:
        return None


def read_label(line: bytes) -> str | None:
    """The custom_id of a result line of Vertex AI."""
    try:
        return _LABEL_DECODER.decode(line).request.labels.batch_assets_id
    except msgspec.MsgspecError:
        return None


def read_keyed(line: bytes) -> ResultLine:
    """A whole result line of the Developer API. Raises ValueError."""
    read = _KEYED_DECODER.decode(line)
    error = read.error or read.status
    if error is not None:
        return _failed(read.key, error)
    if read.response is None:
        raise ValueError("a result line without response and error")
    return _answered(read.key, read.response)


def read_labelled(line: bytes) -> ResultLine:
    """A whole result line of Vertex AI. Raises ValueError."""
    read = _LABELLED_DECODER.decode(line)
    custom_id = read.request.labels.batch_assets_id
    if read.status:
        return _failed(custom_id, _status_error(read.status) if isinstance(read.status, str) else read.status)
    if read.response is None:
        raise ValueError("a result line without response and status")
    return _answered(custom_id, read.response)


def _status_error(status: str) -> _Error:
    """`Bad Request: {"error": {code, message, status}}`, or words alone."""
    words, brace, rest = status.partition("{")
    try:
        return msgspec.json.decode(brace + rest, type=_Wrapped).error
    except msgspec.MsgspecError:
        code = 400 if words.startswith(("Bad Request", "INVALID_ARGUMENT")) else None
        return _Error(code=code, message=status[:500], status=words.partition(":")[0].strip()[:60])


def _failed(custom_id: str, error: _Error) -> ResultLine:
    """An error without a known code is tried again: attempts are counted."""
    code = error.code
    # Statuses of HTTP, or codes of gRPC: 1 canceled, 2 unknown, 4 deadline, 8 exhausted, 10 aborted, 13 to 15 internal.
    curable = code is None or code in {1, 2, 4, 8, 10, 13, 14, 15, 408, 409, 429} or code >= 500
    return ResultLine(
        custom_id=custom_id,
        outcome=Outcome.ERRORED,
        error=error.message or error.status or f"code {code}",
        error_kind=error.status or str(code or "unknown"),
        curable=curable,
    )


def _answered(custom_id: str, response: _Response) -> ResultLine:
    text, finish = None, None
    outcome, error, kind = Outcome.SUCCEEDED, None, None
    if response.candidates:
        candidate = response.candidates[0]
        finish = candidate.finish_reason
        parts = (candidate.content.parts if candidate.content else None) or []
        text = "".join(part.text or "" for part in parts if not part.thought) or None
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason:
        kind = feedback.block_reason.lower()
        error = feedback.block_reason_message or f"the provider blocked the prompt: {feedback.block_reason}"
    elif finish in _FILTERED:
        error, kind = f"the provider's content filter cut the response: {finish}", "content_filter"
    elif text is None:
        error, kind = f"the response holds no text (finish reason {finish})", "no_text"
    if kind is not None:
        outcome = Outcome.ERRORED
    usage = response.usage_metadata or _Usage()
    return ResultLine(
        custom_id=custom_id,
        outcome=outcome,
        text=text,
        error=error,
        error_kind=kind,
        curable=kind == "no_text",
        model=response.model_version,
        finish_reason=_FINISH.get(finish, finish.lower()) if finish else None,
        input_tokens=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        cached_tokens=usage.cached_content_token_count or 0,
        output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
