"""Providers by name: the entry points of the group `batch_assets.providers`, of this package and of others.

An entry point names a factory: a class, or any callable, that takes `name` and settings by keyword and returns a
Provider. What is not set it takes from the environment, its secrets always. A parameter `store` gets a function that
opens the caller's own store.
"""

from __future__ import annotations

import inspect
from decimal import Decimal, InvalidOperation
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import orjson

from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batch_assets.providers.protocol import Provider
    from batch_assets.storage.protocol import ObjectStore

GROUP = "batch_assets.providers"
_SECRETS = frozenset({"api_key", "token", "secret", "password"})


def provider_names() -> list[str]:
    """The names of all providers that are installed."""
    return sorted(entry_points(group=GROUP).names)


def make_provider(
    name: str, settings: Mapping[str, str] | None = None, *, store: Callable[[], ObjectStore] | None = None
) -> Provider:
    """The provider of that name, with settings as texts: numbers, `true`, JSON of a mapping. No network.

    Raises ConfigError naming what is wrong: the name, a setting that is unknown, missing, of another type or a secret.
    """
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(map(repr, provider_names()))
        raise ConfigError(
            f"the provider {name!r} is not known; those installed are {known}"
            if known
            else "no provider is registered: this installation is older than its code; install the package again"
        )
    try:
        factory = found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the provider {name!r} cannot be loaded from {found[0].value}: {error}") from error
    parameters = _settings_of(factory)
    given = {key: _value(name, key, text, parameters) for key, text in (settings or {}).items()}
    if "store" in inspect.signature(factory).parameters:
        given["store"] = store
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise ConfigError(f"the provider {name!r} needs the setting {key!r}: add --provider-option {key}=...")
    provider: Provider = factory(name=name, **given)
    return provider


def _settings_of(factory: Any) -> dict[str, inspect.Parameter]:
    """The parameters that a text can be made into; those that a partial has fixed are none."""
    fixed = set(factory.keywords) if isinstance(factory, partial) else set()
    return {
        key: parameter
        for key, parameter in inspect.signature(factory).parameters.items()
        if key not in fixed | {"name"} and _reader(parameter) is not None
    }


def _value(name: str, key: str, text: str, parameters: Mapping[str, inspect.Parameter]) -> Any:
    if key in _SECRETS:
        raise ConfigError(
            f"{key!r} is a secret, and a command line is seen by others: set the provider's environment variable"
        )
    parameter = parameters.get(key)
    read = _reader(parameter) if parameter is not None else None
    if read is None:
        known = ", ".join(repr(each) for each in sorted(parameters) if each not in _SECRETS)
        raise ConfigError(f"the provider {name!r} has no setting {key!r}; it has {known}")
    try:
        return read(text)
    except (ValueError, InvalidOperation) as error:
        mapping = read in {_texts, _object}
        given = "no such mapping" if mapping else repr(text)  # a header may hold what nobody is to read
        raise ConfigError(f"the setting {key!r} of the provider {name!r} is {given}; {error}") from error


def _reader(parameter: inspect.Parameter) -> Callable[[str], Any] | None:
    """What makes a text into the type of a parameter; None for types that are no plain settings."""
    annotation = parameter.annotation
    written = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    parts = [part.strip() for part in written.split("|")]
    return next((_READERS[part] for part in parts if part in _READERS), None)


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("write true or false")
    return text.lower() == "true"


def _object(text: str, kind: type = object, what: str = 'a JSON object, {"metadata": false} say') -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(each, kind) for each in value.values()):
        raise ValueError(f"write {what}")
    return value


def _number(text: str, kind: Callable[[str], Any], what: str) -> Any:
    try:
        return kind(text)
    except (ValueError, InvalidOperation) as error:
        raise ValueError(f"write {what}") from error


_texts = partial(_object, kind=str, what='a JSON object of texts, {"x-team": "a"} say')
_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "bool": _truth,
    "int": partial(_number, kind=int, what="a whole number"),
    "float": partial(_number, kind=float, what="a number"),
    "Decimal": partial(_number, kind=Decimal, what="a number"),
    "Mapping[str, str]": _texts,
    "dict[str, str]": _texts,
    "Mapping[str, Any]": _object,
    "dict[str, Any]": _object,
}
