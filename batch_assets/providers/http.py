"""What adapters share about HTTP: lines of a body, and what a failed call means for the caller."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from batch_assets.errors import Ambiguous, Blocked, ConfigError, NotFound, ProviderError, QueueFull, Refused, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 86_400.0
_TRANSPORTS = ("httpx", "httpcore", "requests", "urllib3", "google.auth", "google.resumable_media")


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their line feeds; empty ones are left out. A JSON string may hold other line separators."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """What the provider asks us to wait, if it does: in seconds, or until a date (RFC 9110, 10.2.3); a day at most.

    A date is compared with that of the answer itself, so that this machine's clock does not matter; without one it says
    nothing.
    """
    wanted = headers.get("retry-after")
    if wanted is None:
        return None
    try:
        seconds = float(wanted)
    except ValueError:
        until, now = _http_date(wanted), _http_date(headers.get("date"))
        if until is None or now is None:
            return None
        seconds = max(0.0, (until - now).total_seconds())
    return min(seconds, _LONGEST_WAIT_SECONDS) if seconds >= 0 else None


def _http_date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def check_address(setting: str, address: str, *, example: str = "https://host", added: Sequence[str] = ()) -> None:
    """Raise ConfigError for what is no root of an API; `added` are ends of it that the SDK adds itself."""
    shown = address.rpartition("@")[2]  # before it may stand a password
    if not _is_address(address):
        raise ConfigError(f"`{setting}` is {shown!r}; write the root of the API, {example} say")
    for end in added:
        if address.rstrip("/").endswith(end):
            raise ConfigError(f"`{setting}` is {shown!r}; leave out `{end}`, which is added to it")


def check_calls(timeout_seconds: float, max_retries: int) -> None:
    """Raise ConfigError for a time in which nothing is answered, or that never ends, and for retries below none."""
    if isinstance(timeout_seconds, bool) or not 0 < timeout_seconds < float("inf"):
        raise ConfigError(f"`timeout_seconds` is {timeout_seconds!r}; write a number of seconds above 0, 60 say")
    if isinstance(max_retries, bool) or not 0 <= max_retries < float("inf"):
        raise ConfigError(f"`max_retries` is {max_retries!r}; write a whole number, 0 for none")


def is_at(address: str | None, host: str) -> bool:
    """Whether an address, if there is one, is of that host, or of a region of it (`eu.api.openai.com`)."""
    found = urlsplit(address).hostname if address else host
    return found == host or (found or "").endswith(f".{host}")


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, say
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A provider's answer to a call that failed."""

    provider: str
    what: str
    """The call, for people: `listing its batches`."""
    status: int
    code: str | None
    """The provider's own code of the error; None where the body is not the provider's."""
    message: str
    headers: Mapping[str, str]
    out_of_money: bool = False
    """A quota or a spend limit is used up: waiting alone does not help."""
    unknown_model: bool = False


def reading_error(answer: Answer) -> ProviderError:
    """What a failed call means that may be made again: list, read, upload, download, cancel, delete."""
    status = answer.status
    facts = {"provider": answer.provider, "status": status, "code": answer.code}
    text = one_line(f"{answer.provider}: {answer.what} was answered {status}: {answer.message}")
    if status == 404:
        return NotFound(text, **facts)  # type: ignore[arg-type]  # one dict for all of them
    if status in {401, 402, 403} or answer.out_of_money:
        return Blocked(text, **facts)  # type: ignore[arg-type]
    if status in {408, 409, 429} or status >= 500:
        return Transient(text, retry_after_seconds=retry_after_seconds(answer.headers), **facts)
    return Refused(text, **facts)  # type: ignore[arg-type]


def creating_error(answer: Answer) -> ProviderError:
    """What a failed create call means. Only a 4xx with the provider's own body says that nothing was created."""
    status = answer.status
    facts = {"provider": answer.provider, "status": status, "code": answer.code}
    text = one_line(f"{answer.what} was answered {status}: {answer.message}")
    if answer.code is None or status in {408, 409} or status >= 500:
        return Ambiguous(text, **facts)  # type: ignore[arg-type]
    if status == 429 and not answer.out_of_money:
        return QueueFull(text, retry_after_seconds=retry_after_seconds(answer.headers), **facts)
    if status in {401, 402, 403} or answer.out_of_money or answer.unknown_model:
        return Blocked(text, whole_account=not answer.unknown_model, **facts)
    return Refused(text, **facts)  # type: ignore[arg-type]


def one_line(text: str) -> str:
    """The text without its line feeds: a page in the place of an answer has many."""
    return " ".join(text.split())


def is_connection_error(error: Exception) -> bool:
    """Whether an exception is one of an HTTP library: SDKs let them through raw while a body is read."""
    return isinstance(error, OSError) or type(error).__module__.startswith(_TRANSPORTS)


def is_unreadable(error: Exception) -> bool:
    """Whether an answer with a good status was none of the API's, a proxy's page say, which SDKs hand on as a text."""
    return isinstance(error, (AttributeError, TypeError, ValueError))


def id_of(batch: object, name: str) -> str:
    """The id of a batch that a create call returned. Raises Ambiguous for an answer that is none of the API's."""
    batch_id = getattr(batch, "id", None)
    if not isinstance(batch_id, str):
        raise Ambiguous(f"the reply to creating a batch is none: {str(batch)[:200]!r}", provider=name)
    return batch_id


def retried(call: Callable[[], T], retries: int) -> T:
    """What a call that may be repeated gives, made again after a Transient: for SDKs whose own retries have no bound.

    A pause that the provider asks for is kept, up to a minute; a longer one is the caller's.
    """
    for attempt in range(retries):
        try:
            return call()
        except Transient as error:
            pause = error.retry_after_seconds or _FIRST_PAUSE_SECONDS * 2**attempt
            if pause > _LONGEST_PAUSE_SECONDS:
                raise
            time.sleep(pause)
    return call()
