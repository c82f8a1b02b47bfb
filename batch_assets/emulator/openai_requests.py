"""The bodies of single OpenAI requests: what is in them, and what the API would refuse.

Facts: OpenAI OpenAPI spec 2.3.0 and the structured outputs guide, read 2026-11. Not exhaustive: it looks for the
mistakes that a client of the Batch API makes.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from batch_assets.emulator.openai_parts import Invalid, part_tokens
from batch_assets.emulator.speech import Ask

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"

_CHAT_KEYS = """
    messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    metadata modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
"""
_RESPONSES_KEYS = """
    background context_management conversation include input instructions max_output_tokens max_tool_calls metadata
    model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text
    tool_choice tools top_logprobs top_p truncation user
"""
_EMBEDDINGS_KEYS = "input model dimensions encoding_format user"
_KEYS = {
    endpoint: frozenset(keys.split())
    for endpoint, keys in ((CHAT, _CHAT_KEYS), (RESPONSES, _RESPONSES_KEYS), (EMBEDDINGS, _EMBEDDINGS_KEYS))
}
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NEW_MODELS = re.compile(r"(?:o[1-9]|gpt-[5-9])")  # these take max_completion_tokens only
_UNSUPPORTED = ("allOf", "oneOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "default")


def read_chat(body: dict[str, Any]) -> Ask:
    """Raises Invalid."""
    ask = Ask(model=_model(body))
    _known(body, CHAT)
    _not_streamed(body)
    messages = body.get("messages")
    if messages is None:
        raise Invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    _texts(ask, messages, "messages")
    ask.choices = _integer(body, "n", 1, 128) or 1
    ask.max_tokens = _integer(body, "max_completion_tokens", 1) or _integer(body, "max_tokens", 1)
    if body.get("max_tokens") is not None and _NEW_MODELS.match(ask.model):
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise Invalid(message, "max_tokens", "unsupported_parameter")
    _number(body, "temperature", 0, 2)
    _number(body, "top_p", 0, 1)
    if (form := body.get("response_format")) is not None:
        inner = form.get("json_schema") if isinstance(form, dict) else None
        _format(ask, form, inner, "response_format", "response_format.json_schema")
    return ask


def read_responses(body: dict[str, Any]) -> Ask:
    """Raises Invalid."""
    ask = Ask(model=_model(body))
    _known(body, RESPONSES)
    _not_streamed(body)
    if isinstance(body.get("instructions"), str):
        ask.before.append(body["instructions"])
    given = body.get("input")
    if given is None:
        raise Invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if isinstance(given, str):
        ask.prompt = given
    else:
        _texts(ask, given, "input")
    ask.max_tokens = _integer(body, "max_output_tokens", 16)
    _number(body, "temperature", 0, 2)
    _number(body, "top_p", 0, 1)
    text = body.get("text")
    if isinstance(text, dict) and text.get("format") is not None:
        _format(ask, text["format"], text["format"], "text.format", "text.format")
    return ask


def read_embeddings(body: dict[str, Any]) -> tuple[str, list[str | list[int]]]:
    """The model and the inputs, each a text or a list of tokens. Raises Invalid."""
    model = _model(body)
    _known(body, EMBEDDINGS)
    given = body.get("input")
    if isinstance(given, list) and given and all(isinstance(each, int) for each in given):
        given = [given]
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= 2048:
        raise Invalid("Invalid 'input': expected a string or 1 to 2048 inputs.", "input")
    if any(not each or not isinstance(each, str | list) for each in inputs):
        raise Invalid("Invalid 'input': input cannot be an empty string.", "input")
    _integer(body, "dimensions", 1, 4096)
    if body.get("encoding_format", "float") not in ("float", "base64"):
        raise Invalid("Invalid value for 'encoding_format'.", "encoding_format", "invalid_value")
    return model, inputs


# -- pieces ------------------------------------------------------------------------------------------------------


def _model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Invalid("you must provide a model parameter", "model", "missing_required_parameter")
    return model


def _known(body: dict[str, Any], endpoint: str) -> None:
    keys = _KEYS[endpoint]
    if not body.keys() <= keys:
        name = next(key for key in body if key not in keys)
        raise Invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def _not_streamed(body: dict[str, Any]) -> None:
    if body.get("stream"):
        raise Invalid("Streaming is not supported in the Batch API.", "stream", "invalid_value")


def _texts(ask: Ask, messages: Any, param: str) -> None:
    """The texts of `messages`, the last user message apart."""
    if not isinstance(messages, list) or not messages:
        raise Invalid(f"Invalid '{param}': empty array. Expected an array with minimum length 1.", param, "empty_array")
    last_user = -1
    texts: list[str] = []
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Invalid(f"Invalid type for '{param}[{position}]': expected an object.", param, "invalid_type")
        role = message.get("role")
        if role not in _ROLES:
            if param == "input" and "type" in message:
                continue  # reasoning, tool calls and other items of a conversation
            raise Invalid(f"Invalid value: '{role}'.", f"{param}[{position}].role", "invalid_value")
        content = message.get("content")
        if content is None and role != "assistant":
            raise Invalid(
                f"Missing required parameter: '{param}[{position}].content'.",
                f"{param}[{position}].content",
                "missing_required_parameter",
            )
        if role == "user":
            last_user = len(texts)
        texts.append(content if isinstance(content, str) else _parts(ask, content, f"{param}[{position}].content"))
    ask.prompt = texts.pop(last_user) if texts else ""
    ask.before += texts


def _parts(ask: Ask, content: Any, param: str) -> str:
    if content is None:
        return ""
    if not isinstance(content, list):
        raise Invalid(f"Invalid type for '{param}': expected a string or an array.", param, "invalid_type")
    texts = []
    chat = ("text", "image_url", "file", "input_audio", "refusal")
    responses = ("input_text", "input_image", "input_file", "input_audio", "output_text", "refusal")
    for position, part in enumerate(content):
        kind = str(part.get("type")) if isinstance(part, dict) else ""
        if kind not in (chat if param.startswith("messages") else responses):
            raise Invalid(f"Invalid value: '{kind}'.", f"{param}[{position}].type", "invalid_value")
        cost = part_tokens(part, f"{param}[{position}]")
        if cost is None:
            texts.append(str(part.get("text", "")))
        else:
            ask.extra_tokens += cost
    return "\n".join(texts)


def _integer(body: dict[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < low:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= {low}, but got {value} instead."
        raise Invalid(message, name, "integer_below_min_value")
    if high is not None and value > high:
        message = f"Invalid '{name}': integer above maximum value. Expected a value <= {high}, but got {value} instead."
        raise Invalid(message, name, "integer_above_max_value")
    return value


def _number(body: dict[str, Any], name: str, low: float, high: float) -> None:
    value = body.get(name)
    if value is not None and (not isinstance(value, int | float) or not low <= value <= high):
        raise Invalid(f"Invalid '{name}': expected a number from {low} to {high}.", name, "invalid_value")


def _format(ask: Ask, form: Any, inner: Any, param: str, inner_param: str) -> None:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "text":
        return
    if kind == "json_object":
        ask.json_object = True
        return
    if kind != "json_schema":
        supported = "'text', 'json_object', and 'json_schema'"
        raise Invalid(f"Invalid value: '{kind}'. Supported values are: {supported}.", f"{param}.type", "invalid_value")
    if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
        missing = f"{inner_param}.schema"
        raise Invalid(f"Missing required parameter: '{missing}'.", missing, "missing_required_parameter")
    name = inner.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"Invalid '{inner_param}.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
        raise Invalid(message, f"{inner_param}.name", "invalid_value")
    ask.schema = orjson.dumps(inner["schema"])
    if inner.get("strict") and (objection := strict_objection(ask.schema)):
        raise Invalid(f"Invalid schema for {param} '{name}': {objection}", param, "invalid_json_schema")


@lru_cache(maxsize=256)
def strict_objection(schema: bytes) -> str | None:
    """Why strict mode does not take `schema` (JSON), None when it does."""
    document = orjson.loads(schema)
    if document.get("type") != "object" or "anyOf" in document:
        return "schema must be a JSON Schema of 'type: \"object\"', got another type at the root."
    return _objection(document, (), 1)


def _objection(node: Any, path: tuple[str, ...], depth: int) -> str | None:
    """The first objection to `node` or something in it."""
    if not isinstance(node, dict):
        return None
    if objection := _own_objection(node, depth):
        return f"In context={path!r}, {objection}"
    properties = node.get("properties", {})
    children: list[tuple[tuple[str, ...], Any]] = [(("properties", key), each) for key, each in properties.items()]
    children += [(("$defs", key), each) for key, each in node.get("$defs", {}).items()]
    children += [(("anyOf", str(i)), each) for i, each in enumerate(node.get("anyOf", ()))]
    if "items" in node:
        children.append((("items",), node["items"]))
    found = (_objection(child, path + step, depth + len(step)) for step, child in children)
    return next(filter(None, found), None)


def _own_objection(node: dict[str, Any], depth: int) -> str | None:
    if depth > 24:  # two levels of the path for each of the 10 levels of nesting, and definitions
        return "the schema is nested too deeply."
    if forbidden := next((key for key in _UNSUPPORTED if key in node), None):
        return f"'{forbidden}' is not permitted."
    properties = node.get("properties", {})
    if node.get("type") == "object" or properties:
        if node.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if missing := [key for key in properties if key not in node.get("required", ())]:
            return (
                "'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{missing[0]}'."
            )
    if node.get("type") == "array" and "items" not in node:
        return "array schema missing items."
    return None
