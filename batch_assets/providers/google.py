"""What the adapters for Gemini and for Vertex AI share: late imports, and what Google's errors mean."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from batch_assets.errors import Ambiguous, Blocked, ConfigError, Transient
from batch_assets.providers.http import (
    Answer,
    creating_error,
    is_connection_error,
    is_unreadable,
    one_line,
    reading_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.auth.credentials import Credentials
    from google.cloud.storage import Client

_UNKNOWN_MODEL = ("Publisher Model", "models/")
_NO_MONEY = ("BILLING", "billing", "prepayment", "spending")
_STORAGE = ("google.api_core", "google.cloud.storage", "google.resumable_media")


def import_genai(name: str, extra: str) -> tuple[Any, Any]:
    """The modules `genai` and `genai.types`. Raises ConfigError with the install line."""
    try:
        from google import genai  # noqa: PLC0415  # an extra, imported when it is needed
        from google.genai import types  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f'the provider {name!r} needs the SDK google-genai: pip install "batch-assets[{extra}]"'
        ) from error
    return genai, types


def check_default_credentials(name: str) -> None:
    """Raise ConfigError if there are no application default credentials. On Google's machines their own are asked."""
    import google.auth  # noqa: PLC0415  # slow to import

    try:
        google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise ConfigError(
            f"the provider {name!r} has no Google credentials: run `gcloud auth application-default login`, or set "
            f"GOOGLE_APPLICATION_CREDENTIALS to a key file ({' '.join(str(error).split())[:200]})"
        ) from error


def placeholder() -> Credentials:
    """What an emulator is sent in the place of credentials."""
    from google.oauth2.credentials import Credentials  # noqa: PLC0415  # slow to import

    return Credentials(token="emulator")  # type: ignore[no-untyped-call]  # noqa: S106


def storage_client(name: str, project: str, credentials: Credentials | None, *, emulator: str | None) -> Client:
    """A client of the bucket; `emulator` is the root of one that has it. Raises ConfigError."""
    from google.cloud.storage import Client  # noqa: PLC0415  # half a second

    if emulator and not os.environ.get("STORAGE_EMULATOR_HOST"):
        return Client(
            project=project, credentials=credentials or placeholder(), client_options={"api_endpoint": emulator}
        )
    if credentials is None and not os.environ.get("STORAGE_EMULATOR_HOST"):
        check_default_credentials(name)
    return Client(project=project, credentials=credentials)


@contextmanager
def reading(name: str, what: str) -> Iterator[None]:
    """Class the errors of a call that may be repeated, to Gemini or to a bucket."""
    from google.auth.exceptions import DefaultCredentialsError, RefreshError  # noqa: PLC0415  # slow to import
    from google.genai.errors import APIError  # noqa: PLC0415  # an extra

    try:
        with warnings.catch_warnings():  # the SDK warns of states that it does not know; they are told by name
            warnings.filterwarnings("ignore", message=".*is not a valid JobState")
            yield
    except APIError as error:
        raise reading_error(_answer(name, what, error)) from error
    except (RefreshError, DefaultCredentialsError) as error:
        text = one_line(f"{name}: {what}: Google does not accept the credentials: {error}")
        raise Blocked(text, provider=name) from error
    except Exception as error:
        if type(error).__module__.startswith(_STORAGE) and getattr(error, "code", None) is not None:
            raise reading_error(_storage_answer(name, what, error)) from error
        known = is_connection_error(error) or is_unreadable(error) or type(error).__module__.startswith(_STORAGE)
        if not known:
            raise
        raise Transient(f"{name}: {what} failed: {error!r}"[:500], provider=name) from error


@contextmanager
def creating(name: str, what: str) -> Iterator[None]:
    """Class the errors of a create call, which is made once. An answer that cannot be read is no answer."""
    from google.auth.exceptions import DefaultCredentialsError, RefreshError  # noqa: PLC0415  # slow to import
    from google.genai.errors import APIError  # noqa: PLC0415  # an extra

    try:
        yield
    except APIError as error:
        raise creating_error(_answer(name, what, error)) from error
    except (RefreshError, DefaultCredentialsError) as error:  # raised before anything is sent
        text = one_line(f"{what}: Google does not accept the credentials: {error}")
        raise Blocked(text, provider=name, whole_account=True) from error
    except Exception as error:
        if not is_connection_error(error) and not is_unreadable(error):
            raise
        raise Ambiguous(f"the reply to {what} was lost: {error!r}"[:500], provider=name) from error


def _answer(name: str, what: str, error: Any) -> Answer:
    """Of any other body than Google's the SDK makes {message, status}."""
    headers = getattr(error.response, "headers", None) or {}
    return _read_answer(name, what, int(error.code), error.details, headers=headers, otherwise=str(error.message))


def body_answer(name: str, what: str, status: int, body: bytes, headers: Mapping[str, str]) -> Answer:
    """The answer to a GET of our own that failed."""
    try:
        details = orjson.loads(body)
    except orjson.JSONDecodeError:
        details = None
    return _read_answer(name, what, status, details, headers=headers, otherwise=body[:300].decode(errors="replace"))


def _read_answer(
    name: str, what: str, status: int, details: Any, *, headers: Mapping[str, str], otherwise: str
) -> Answer:
    """Google's bodies are {error: {code, message, status}}; a key that is not valid is answered with 400."""
    own = details.get("error") if isinstance(details, dict) else None
    own = own if isinstance(own, dict) else None
    message = str(own.get("message") or own.get("status")) if own else otherwise[:300]
    if own and status == 400 and ("API_KEY_INVALID" in str(own.get("details")) or message.startswith("API key")):
        status = 401
    return Answer(
        provider=name,
        what=what,
        status=status,
        code=str(own.get("status") or own.get("code")) if own else None,
        message=message,
        headers=headers,
        out_of_money=status in {402, 403} and any(word in message for word in _NO_MONEY),
        unknown_model=status == 404 and message.startswith(_UNKNOWN_MODEL),
    )


def _storage_answer(name: str, what: str, error: Any) -> Answer:
    from batch_assets.storage.gcs import reason  # noqa: PLC0415  # slow to import

    response = getattr(error, "response", None)
    return Answer(
        provider=name,
        what=what,
        status=int(error.code),
        code=None,
        message=reason(error),
        headers=getattr(response, "headers", None) or {},
    )
