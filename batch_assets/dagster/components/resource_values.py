"""Resources as YAML says them: the `type`, and its settings beside it."""

import re
from collections.abc import Mapping
from functools import reduce
from inspect import isabstract, isclass
from typing import Any

from dagster import ConfigurableResource, EnvVar
from dagster.components import ResolutionContext
from pydantic import ValidationError

from batch_assets.dagster import compatible_providers, providers
from batch_assets.dagster.components.places import errors_at, imported, located
from batch_assets.dagster.providers import BatchProviderResource
from batch_assets.errors import ConfigError

_ENV = re.compile(r"\s*\{\{\s*env\.(\w+)\s*\}\}\s*")

PROVIDER_RESOURCES: dict[str, type[BatchProviderResource]] = {
    name: value
    for module in (providers, compatible_providers)
    for name, value in vars(module).items()
    if isclass(value) and issubclass(value, BatchProviderResource) and not isabstract(value)
}
"""The resources of providers that need no module before their name."""


def provider_resources(context: ResolutionContext, value: Any) -> dict[str, BatchProviderResource]:
    """Providers by name. `type` is one of ours, or the dotted path of another BatchProviderResource."""
    found = {}
    for name, settings in value.items():
        at = context.at_path(name)
        given = at.resolve_value(settings) if isinstance(settings, str) else settings
        found[name] = given if isinstance(given, BatchProviderResource) else _provider(at, given)
    return found


def resource(context: ResolutionContext, kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """The resource with these settings. A text that is `{{ env.NAME }}` is read by the run that uses it, not shown."""
    for name in settings:
        if name not in kind.model_fields:
            known = ", ".join(sorted(kind.model_fields))
            raise located(context.at_path(name), f"{kind.__name__} has no setting {name!r}; it has {known}")
    values = {name: _setting(context.at_path(name), value) for name, value in settings.items()}
    try:
        return kind(**values)
    except ConfigError as error:
        raise located(reduce(ResolutionContext.at_path, error.at, context), f"{kind.__name__}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]  # the input may be a secret
        setting = str(first["loc"][0]) if first["loc"] else ""
        place = context.at_path(setting) if setting in settings else context
        raise located(place, f"{kind.__name__}: {setting}: {first['msg']}") from None


def _provider(context: ResolutionContext, settings: Any) -> BatchProviderResource:
    names = f"one of {', '.join(sorted(PROVIDER_RESOURCES))}, or the dotted path of a BatchProviderResource"
    given = settings.get("type") if isinstance(settings, Mapping) else None
    if not isinstance(given, str):
        raise located(context, f"`type` is missing: write {names}")
    with errors_at(context.at_path("type")):
        if given not in PROVIDER_RESOURCES and "." not in given:
            raise ConfigError(f"{given!r} is not known: write {names}")
        kind = PROVIDER_RESOURCES.get(given) or imported(given)
        if not (isclass(kind) and issubclass(kind, BatchProviderResource)):
            raise ConfigError(f"{given!r} is no provider's resource: write {names}")
    found: BatchProviderResource = resource(context, kind, _without_type(settings))
    return found


def _setting(context: ResolutionContext, value: Any) -> Any:
    if isinstance(value, str) and (variable := _ENV.fullmatch(value)):
        return EnvVar(variable[1])
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        with errors_at(context.at_path("type")):
            kind = imported(value["type"])
            if not (isclass(kind) and issubclass(kind, ConfigurableResource)):
                raise ConfigError(f"{value['type']!r} is no resource")
        return resource(context, kind, _without_type(value))
    return context.resolve_value(value)


def _without_type(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "type"}
