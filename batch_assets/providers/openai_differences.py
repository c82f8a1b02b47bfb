"""A host that is no preset, declared as data: a preset, and what is different from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from batch_assets.errors import ConfigError
from batch_assets.providers.openai_dialects import STATUSES, URLS, OpenAIDialect
from batch_assets.records import BatchPhase, Ending, Limits

_STATUS_WORDS: Mapping[str, tuple[BatchPhase, Ending | None]] = MappingProxyType(
    {
        "running": (BatchPhase.RUNNING, None),
        "canceling": (BatchPhase.CANCELING, None),
        **{ending.value: (BatchPhase.ENDED, ending) for ending in Ending},
    }
)

_FORMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "name": (r"\S(.*\S)?", "write what people call the host"),
        "vendor": (r"[a-z0-9][a-z0-9._-]*", "write lower-case letters, digits, dots and dashes, `acme` say"),
        "key_variable": (
            r"([A-Z_][A-Z0-9_]*|[A-Za-z_][A-Za-z0-9_]{0,30})?",  # what is longer than that may be the key itself
            "write the name of an environment variable, ACME_API_KEY say; a long one in capitals",
        ),
        "key_header": (
            r"(?!(?i:authorization)$)[A-Za-z0-9-]*",
            "write the name of a header, `api-key` say, or leave it out: the key then goes into `Authorization`",
        ),
        "urls": (r"/[^\s?#]*[^\s?#/]", "write a path, `/v1/chat/completions` say"),
        "windows": (r"[1-9]\d{0,3}[hd]", "write hours or days, `24h` or `7d` say"),
        "statuses": ("|".join(_STATUS_WORDS), f"write one of {', '.join(_STATUS_WORDS)}"),
        "structured_output": ("json_schema|json_object|none", "write json_schema, json_object or none"),
        "chat_limit_param": (
            "max_completion_tokens|max_tokens",
            "write max_completion_tokens or max_tokens; others go into an asset's `params`",
        ),
        "queue_full_codes": (r"\S+", "write an error's code as the host does"),
        "no_money_codes": (r"\S+", "write an error's code as the host does"),
        "console_url": (r"(https?://[^\s{}]+(\{\}[^\s{}]*)?)?", "write an address, `{}` where the batch's id goes"),
    }
)
"""What a text, or each text of a list or mapping, has to look like, and the cure where it does not."""

_UNSHOWN = frozenset({"key_variable", "key_header"})
"""Where somebody may have written the key itself."""
_LIMITS = ("max_requests", "max_bytes", "max_request_bytes", "results_kept_days")
_MEDIA_NAMES = MappingProxyType({"chat": "chat completions", "responses": "responses"})


class Differences(BaseModel):
    """What is different at a host from the preset that it is declared with; what is left out is the preset's.

    Raises ConfigError, in one line: the field, what it is, what it may be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(default=None, description="What people call the host, in errors and remarks.")
    vendor: str | None = Field(
        default=None,
        description="Its short name in prices, account ids and fingerprints: as genai-prices has it, or one of your "
        "own. With another one, results are bought again.",
    )
    key_variable: str | None = Field(
        default=None,
        description='The environment variable of the API key where `api_key` is not set; "": the host needs no key.',
    )
    key_header: str | None = Field(
        default=None, description='The header that carries the key alone, `api-key` say; "": `Authorization: Bearer`.'
    )
    urls: dict[str, str] | None = Field(
        default=None,
        description="The path of each endpoint that the host has, as request lines and the create call name it, by "
        "`chat`, `responses`, `embeddings`. Those left out are refused.",
    )
    windows: list[str] | None = Field(
        default=None, description="The completion windows that the host takes, in h or d; the usual one first."
    )
    metadata: bool | None = Field(
        default=None,
        description="Whether batches bear metadata that lists show. Where not, a batch is known by its input file.",
    )
    statuses: dict[str, str] | None = Field(
        default=None,
        description="Statuses of batches beside OpenAI's own, and what they mean: `running`, `canceling`, or how the "
        "batch ended: `completed`, `expired`, `canceled`, or `failed` where nothing was executed.",
    )
    max_requests: int | None = Field(default=None, ge=1, strict=True, description="Requests of one batch at most.")
    max_bytes: int | None = Field(default=None, ge=1, strict=True, description="Bytes of one input file at most.")
    max_request_bytes: int | None = Field(
        default=None, ge=1, strict=True, description="Bytes of one request's line at most; a longer one is `errored`."
    )
    results_kept_days: int | None = Field(
        default=None, ge=1, strict=True, description="Days from a batch's creation on that its results are kept for."
    )
    structured_output: str | None = Field(
        default=None,
        description="`json_schema`: the host keeps to a schema; `json_object`: it promises JSON; `none`: neither. For "
        "the latter two the schema is told in the system text.",
    )
    chat_limit_param: str | None = Field(
        default=None,
        description="What `max_output_tokens` is called for chat completions: `max_completion_tokens`, `max_tokens`.",
    )
    local_models: bool | None = Field(
        default=None,
        description="Whether a model's name means something at this address only: results are then not shared with "
        "other addresses.",
    )
    files_are_processed: bool | None = Field(
        default=None, description="Whether an upload can be used only after a while, which is then waited for."
    )
    queue_full_codes: list[str] | None = Field(
        default=None,
        description="Error codes, beside the preset's, of a batch that failed because the queue was full.",
    )
    no_money_codes: list[str] | None = Field(
        default=None, description="Error codes, beside the preset's, of an account that is out of money or quota."
    )
    console_url: str | None = Field(
        default=None, description='Where a person looks at a batch, `{}` being its id; "": nowhere.'
    )

    @model_validator(mode="wrap")
    @classmethod
    def _errors_in_one_line(cls, given: Any, read: Callable[[Any], Differences]) -> Differences:
        try:
            return read(given)
        except ValidationError as error:
            raise _one_line(error, known=sorted(cls.model_fields)) from None  # its text may hold a secret

    @field_validator(*_FORMS)
    @classmethod
    def _has_its_form(cls, value: Any, info: ValidationInfo) -> Any:
        pattern, cure = _FORMS[str(info.field_name)]
        for place, text in _texts(value):
            if not re.fullmatch(pattern, text):
                shown = "no name of that kind" if info.field_name in _UNSHOWN else repr(text)
                raise ValueError(f"{place}is {shown}; {cure}")
        return value

    @field_validator("urls", "windows")
    @classmethod
    def _has_some(cls, value: Any) -> Any:
        if value is not None and not value:
            raise ValueError("is empty; name what the host has, or leave it out")
        return value

    @field_validator("urls")
    @classmethod
    def _names_endpoints(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for endpoint in value or ():
            if endpoint not in URLS:
                raise ValueError(f"has {endpoint!r}; the endpoints are {', '.join(URLS)}")
        return value

    @field_validator("statuses")
    @classmethod
    def _leaves_the_known_ones(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for status, word in (value or {}).items():
            if STATUSES.get(status, _STATUS_WORDS[word]) != _STATUS_WORDS[word]:
                raise ValueError(f"of {status!r} is {word!r}; {status!r} is OpenAI's own status: leave it out")
        return value


def declared(preset: OpenAIDialect, differences: Differences | Mapping[str, Any]) -> OpenAIDialect:
    """The host that differs from the preset so. Raises ConfigError naming the field, its value and what it may be."""
    read = differences if isinstance(differences, Differences) else Differences.model_validate(differences)
    given = {field: value for field, value in read.model_dump().items() if value is not None}
    changes = {field: value for field, value in given.items() if field not in _LIMITS}
    for field in ("key_variable", "key_header", "console_url"):
        if field in given:
            changes[field] = given[field] or None
    for field in ("queue_full_codes", "no_money_codes"):
        changes[field] = getattr(preset, field) | set(given.get(field, ()))
    if "windows" in given:
        changes["windows"] = tuple(given["windows"])
    if "statuses" in given:
        own = {status: _STATUS_WORDS[word] for status, word in given["statuses"].items()}
        changes["statuses"] = {**preset.statuses, **own}
    if "name" in given:
        changes["media"] = {
            endpoint: replace(media, name=f"{given['name']}'s {_MEDIA_NAMES[endpoint]}")
            for endpoint, media in preset.media.items()
        }
    return replace(preset, limits=_limits(preset.limits, given), **changes)


def _limits(preset: Limits, given: Mapping[str, Any]) -> Limits:
    most = given.get("max_bytes", preset.max_bytes)
    line = given.get("max_request_bytes", min(preset.max_request_bytes, most))
    if line > most:
        raise ConfigError(
            f"`differences.max_request_bytes` is {line}, and a whole batch may have {most}; write no more, or set "
            "`differences.max_bytes` too"
        )
    limits = {field: given[field] for field in _LIMITS if field in given}
    return replace(preset, **{**limits, "max_request_bytes": line})


def _texts(value: Any) -> list[tuple[str, str]]:
    """The texts of a field, each with its place within."""
    if isinstance(value, dict):
        return [(f"of {key!r} ", text) for key, text in value.items()]
    if isinstance(value, list):
        return [("", text) for text in value]
    return [] if value is None else [("", value)]


def _one_line(error: ValidationError, *, known: list[str]) -> ConfigError:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return ConfigError(f"`differences` is no mapping; its fields are {', '.join(known)}", at=("differences",))
    field, *inside = [str(part) for part in first["loc"]]
    at = ("differences", field)
    where = f"`{'.'.join((*at, *inside))}`"
    if first["type"] == "extra_forbidden":
        return ConfigError(f"`differences` has no field {field!r}; it has {', '.join(known)}", at=at)
    if first["type"] == "value_error":
        return ConfigError(f"{where} {first['ctx']['error']}", at=at)
    shown = "no text" if field in _UNSHOWN else repr(first["input"])
    return ConfigError(f"{where} is {shown}: {first['msg']}", at=at)
