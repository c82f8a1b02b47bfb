"""What the command line says of a batch asset: provider, prompt, output type."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from batch_assets.errors import ConfigError
from batch_assets.providers.registry import make_provider
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_assets.providers.protocol import Provider


def open_provider(name: str, options: Sequence[str], store: Path) -> Provider:
    """The provider's account, its key checked. Raises ConfigError."""
    settings = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise ConfigError(f"--provider-option {option!r} is not of the form key=value, `location=europe-west4` say")
        settings[key] = value
    provider = make_provider(name, settings, store=lambda: LocalStore(store))
    provider.check_credentials()
    return provider


def read_text(option: str, value: str) -> str:
    """The value itself, or the content of the file that it names with `@`. One trailing line feed is dropped."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{option}: the file {value[1:]} cannot be read ({reason})") from error


def load_schema(output: str | None, schema_file: Path | None) -> OutputSchema:
    """The output type: a class by its name, a JSON Schema from a file, or plain text.

    Raises ConfigError, SchemaError.
    """
    if schema_file is not None:
        document = _json_document(schema_file)
        title = document.get("title")
        return OutputSchema.from_json_schema(document, name=title if isinstance(title, str) else schema_file.stem)
    return OutputSchema.of(str if output is None else _import_type(output))


def _json_document(file: Path) -> dict[str, object]:
    try:
        document = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"--schema: the file {file} cannot be read ({error.strerror})") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"--schema: {file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"--schema: {file} holds a {type(document).__name__}; a JSON Schema is an object")
    return document


def _import_type(name: str) -> type:
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise ConfigError(f"--output {name!r} is not of the form module:Type, `my_types:Intent` say")
    here = str(Path.cwd())
    if here not in sys.path:  # a console script's own folder is there instead
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"--output: the module {module_name!r} cannot be imported from {here}: {error}") from error
    except Exception as error:  # a user's module may raise anything
        cause = f"{type(error).__name__}: {error}"
        raise ConfigError(f"--output: importing the module {module_name!r} failed: {cause}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"--output: the module {module_name!r} has no {path!r}")
        found = getattr(found, part)
    if not isinstance(found, type):
        raise ConfigError(f"--output: {name} is a {type(found).__name__}; name a pydantic model class")
    return found
