"""Errors that name the file, the line and the attribute of the YAML that they are about."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any

from dagster.components import ResolutionContext
from dagster.components.resolved.errors import ResolutionException

from batch_assets.errors import BatchAssetsError, ConfigError


def located(context: ResolutionContext, message: str) -> ResolutionException:
    """The error at the place that the context is at."""
    if context.source_position_tree is None:
        return ResolutionException(message)
    place = context.source_position_tree.source_error(
        yaml_path=context.path, inline_error_message=message, value_error=True
    )
    return ResolutionException(
        f"{place.file_name}:{place.start_line_no} - {place.location}\n{place.snippet}\n{place.location}: {message}"
    )


@contextmanager
def errors_at(context: ResolutionContext) -> Iterator[None]:
    """Whatever is raised inside is about the place that the context is at."""
    try:
        yield
    except ResolutionException:
        raise
    except BatchAssetsError as error:
        raise located(context, str(error)) from None
    except Exception as error:
        raise located(context, "".join(traceback.format_exception_only(error)).strip()) from error


def imported(path: str) -> Any:
    """What `package.module.name` or `package.module:name` names. Raises ConfigError."""
    try:
        return resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path!r} cannot be imported: {error}. Write package.module.Name") from error
