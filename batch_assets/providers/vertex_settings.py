"""Settings of Vertex AI: which cannot be right, and what a call says of a location that does not exist. No network.

Facts (reports of users and the SDK 3.4, read 2026-11): every location has a host of its own. One of a location that
does not exist resolves in most networks, to a front end of Google's that answers 404 with a page (langchain4j #5865,
promptfoo #6569); Vertex AI itself answers 400 `Invalid hostname` where it knows the name of the location and not the
host (langchainjs #11196); in other networks the name is not found. Locations come into being, so that one that is
well-formed is not refused before it was asked.
"""

from __future__ import annotations

import re
import socket

from batch_assets.errors import Blocked, ConfigError, ProviderError, Transient

_FORMS = {
    "project": (
        re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]*"),
        "write the project's id, `my-project-123` say, not its name",
    ),
    "location": (
        re.compile(r"global|[a-z]{2}|[a-z]+(?:-[a-z]+)+\d+"),
        "write a region, `europe-west4` say, or `eu`, `us` or `global`",
    ),
    "gcs_folder": (re.compile(r"gs://[a-z0-9][a-z0-9._-]*(?:/.+)?"), "write gs://bucket/folder"),
}
_INVALID_HOST = "Invalid hostname"


def check_form(name: str, setting: str, value: str) -> None:
    """Raise ConfigError for a value that no project, location or bucket can have. `name` is the provider's."""
    form, cure = _FORMS[setting]
    if not form.fullmatch(value):
        raise ConfigError(f"the provider {name!r} has {value!r} as `{setting}`; {cure}")


def host_of(location: str) -> str:
    """The host that the SDK calls."""
    if location == "global":
        return "aiplatform.googleapis.com"
    return (
        f"aiplatform.{location}.rep.googleapis.com" if len(location) == 2 else f"{location}-aiplatform.googleapis.com"
    )


def misplaced(error: ProviderError, *, name: str, what: str, location: str, host: str) -> ProviderError:
    """What the failure of a call means that fails only where the place is wrong: the error itself, or a better one.

    A page or a refusal blocks the account. A name that is not found may be an outage as well, and is tried again.
    """
    cure = f"`location` is {location!r}: write one that Vertex AI has, `europe-west4` say"
    if isinstance(error, Transient):
        if not _is_unknown_host(error):
            return error
        text = f"{name}: {what} failed, since the host {host} is not found: either the network is down, or {cure}"
        return Transient(text, provider=name)
    if error.status == 404 and error.code is None:
        text = f"{name}: {what} was answered 404 by a page that is not Vertex AI's, at {host}; {cure}"
    elif error.status == 400 and _INVALID_HOST in str(error):
        text = f"{error}; {cure}"
    else:
        return error
    return Blocked(text, provider=name, status=error.status, code=error.code)


def _is_unknown_host(error: BaseException) -> bool:
    """Whether a failed look-up of a host's name is at the bottom of an error."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, socket.gaierror):
            return True
        below = below.__cause__ or below.__context__
    return False
