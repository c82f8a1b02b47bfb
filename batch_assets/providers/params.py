"""An asset's `params` against a table of the adapter's: what it sets itself, and which values say what holds anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from batch_assets.errors import ConfigError

_NONE: Mapping[str, Sequence[Any]] = MappingProxyType({})


def check_params(
    params: Mapping[str, Any], refused: Mapping[str, str], *, harmless: Mapping[str, Sequence[Any]] = _NONE
) -> None:
    """Raise ConfigError for a parameter of `refused`, which has the cures, unless its value is one of `harmless`."""
    for param, value in params.items():
        known = any(type(value) is type(each) and value == each for each in harmless.get(param, ()))
        if param in refused and not known:
            raise ConfigError(f"`params` holds {param!r}, which cannot be set there: {refused[param]}")


def check_beside_format(params: Mapping[str, Any], param: str, example: str) -> None:
    """Raise ConfigError unless `param`, if it is there, is a mapping of options without `format`, which is ours."""
    if param not in params:
        return
    options = params[param]
    if not isinstance(options, Mapping):
        raise ConfigError(f"`params` holds {param}={options!r}; write a mapping of its options, {example} say")
    if "format" in options:
        raise ConfigError(f"`params` holds {param!r} with 'format', which cannot be set there: set `output_type`")
