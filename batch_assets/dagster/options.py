"""The options of `batch_asset`, judged as they are written: what none of the providers could take."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from numbers import Integral
from typing import Any

import orjson
from dagster import asset

from batch_assets.errors import ConfigError
from batch_assets.pricing import check_pricing

MOST_PREVIEW_ROWS = 50
"""Metadata is kept in Dagster's event log and shown whole."""
_CHOICES = {"on_change": ("finish", "cancel"), "on_ambiguous": ("hold", "resubmit", "fail")}
_OWN = frozenset(
    {"output_required", "config_schema", "required_resource_keys", "resource_defs", "io_manager_def", "key"}
    | {"check_specs"}
)


def check_request_options(*, model: Any, params: Any) -> None:
    """Raise ConfigError for what no request can hold."""
    if isinstance(model, str) and (model != model.strip() or not model.isprintable()):
        raise ConfigError(f"`model` is {model!r}; write it without the blanks around it")
    if params is not None and not isinstance(params, Mapping):
        raise ConfigError(f"`params` is a {type(params).__name__}; write a dict, {{'temperature': 0}} say")
    for name, value in (params or {}).items():
        if not isinstance(name, str):
            raise ConfigError(f"`params` holds {name!r}, which is no name; write a text")
        try:
            json.dumps(value, allow_nan=False)  # orjson would write null
            orjson.dumps(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"`params` holds {name!r}, whose value cannot be written as JSON: {error}") from error


def check_table_options(
    *, row_key: Any, preview_rows: Any, pricing: Any, endpoint: str, choices: Mapping[str, str]
) -> None:
    """Raise ConfigError for what says nothing about the rows and their table. `choices` are those of _CHOICES."""
    if not isinstance(row_key, str) or not row_key:
        raise ConfigError(f"`row_key` is {row_key!r}; write the name of the column that names a row")
    if not 0 <= _whole(preview_rows, -1) <= MOST_PREVIEW_ROWS:
        raise ConfigError(f"`preview_rows` is {preview_rows!r}; write a whole number from 0 to {MOST_PREVIEW_ROWS}")
    for name, choice in choices.items():
        if choice not in _CHOICES[name]:
            known = " or ".join(f"`{known}`" for known in _CHOICES[name])
            raise ConfigError(f"`{name}` is {choice!r}; write {known}")
    check_pricing(pricing, embeddings=endpoint == "embeddings")


def tokens(limit: Any) -> int | None:
    """`max_output_tokens` as it is written, a number of numpy's say. Raises ConfigError for what is none."""
    if limit is None:
        return None
    if (found := _whole(limit, 0)) < 1:
        raise ConfigError(f"`max_output_tokens` is {limit!r}; write a whole number from 1 on")
    return found


def _whole(number: Any, other: int) -> int:
    """A whole number as one of Python's; for what is none the other one."""
    return other if isinstance(number, bool) or not isinstance(number, Integral) else int(number)


def columns(names: Any) -> tuple[str, ...] | None:
    """`output_columns` as they are written: names in a list, a set, keys of a dict. Raises ConfigError."""
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise ConfigError(f"`output_columns` is {names!r}; write a list of names, ['text'] say")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise ConfigError(f"`output_columns` holds {name!r}, which is no name; write a text")
    return found


def usd(amount: Decimal | float | str | None) -> Decimal | None:
    """An amount as it is written. Raises ConfigError for what is none."""
    try:
        found = None if amount is None else Decimal(str(amount))
    except InvalidOperation:
        found = Decimal("NaN")
    if found is not None and not (found.is_finite() and found >= 0):
        raise ConfigError(f"`max_cost_usd` is {amount!r}; write US dollars as a number, 25 or 0.5 say")
    return found


def check_dagster_options(options: Mapping[str, Any]) -> None:
    """Raise ConfigError for options that are not passed through to `dagster.asset`."""
    allowed = {name for name in inspect.signature(asset).parameters if name not in ("compute_fn", "kwargs")}
    for option in options:
        if option not in allowed or option in _OWN:
            raise ConfigError(
                f"batch_asset has no option {option!r}"
                + ("; a batch asset sets it itself" if option in _OWN else "; see dagster.asset for those that pass")
            )
