"""What the engine asks of a provider: one Protocol, one file per provider, differences as data.

Every method is one or a few calls and keeps nothing between calls. Reading methods may be retried by the SDK; `create`
never is: it is called once for each durable intent, with the SDK's retries off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from decimal import Decimal

    from batch_assets.admission import QueueLimits
    from batch_assets.parts import PartsForm
    from batch_assets.records import BatchInfo, InputFile, Limits, Request


class ResultLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a provider's result file, read."""

    custom_id: str
    outcome: Outcome
    """SUCCEEDED here means that the provider answered; the output type is checked by the caller."""
    text: str | None = None
    """The response; JSON text where the request had a schema."""
    error: str | None = None
    error_kind: str | None = None
    """The provider's own code of the error, for counting."""
    curable: bool = False
    """Another attempt may succeed: a 429, a 5xx, an expiry. A refusal of the content or a bad parameter is not."""
    model: str | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    """Those read from and written to a cache included."""
    cached_tokens: int = 0
    """Read from a cache."""
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Of cache_write_tokens, those that are kept for an hour."""
    output_tokens: int = 0


class Envelope(Protocol):
    """The constant part of a plan's request lines, serialised once."""

    overhead_bytes: int
    """Of a line beyond its content, line feed included. A line has exactly overhead_bytes + len(content) bytes."""
    parts: PartsForm | None
    """How contents with images and PDFs are written; None: the endpoint takes a text alone."""

    def lines(self, custom_ids: Iterable[str], contents: Iterable[bytes]) -> Iterator[bytes]:
        """The wire lines, each with its line feed.

        `contents` are JSON literals as `Prompt.render` gives them: a string, or the array that `parts` made.
        """
        ...


@runtime_checkable
class Provider(Protocol):
    """One account at one vendor."""

    name: str
    """Key of the resource: `openai`."""
    vendor: str
    """For prices and fingerprints: `openai`, `anthropic`, `google`, `mistral`."""
    host: str | None
    """Where model names are local to a host (gateways): that host; else None. Part of the fingerprint."""
    limits: Limits
    queue: QueueLimits
    """What the account may have at the provider at one time."""
    assumed_batch_discount: Decimal | None
    """Off the standard price, where no batch price is published; 0.5 is half. None: such a cost is unknown."""
    listing_grace_seconds: float
    """How long a created batch may be missing from the list of batches."""

    @property
    def account(self) -> str:
        """Which account the batches belong to: vendor, host, organization and project; safe as a folder's name.

        Never derived from a secret: a rotated key is the same account.
        """
        ...

    def check(self, request: Request) -> None:
        """Refuse what the batch API would refuse: schema subset, parameters, model. Raises ConfigError. No network."""
        ...

    def check_credentials(self) -> None:
        """Raise ConfigError naming the setting if there is no key. No network."""
        ...

    def envelope(self, request: Request) -> Envelope:
        """The constant part of the request lines."""
        ...

    def newest(self) -> str | None:
        """Id of the newest batch that the account lists: the anchor of an intent. Raises Transient or Blocked."""
        ...

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Upload an input file and return its id; None where requests go inline. Free of charge; may be repeated.

        Raises Transient, Blocked, Refused.
        """
        ...

    def create(
        self,
        *,
        stamp: str,
        request: Request,
        input_file: str | None,
        lines: Callable[[], Iterator[bytes]],
        timeout_seconds: float,
    ) -> str:
        """Create the batch, once, and return its id. The only call that costs money.

        Raises QueueFull, Blocked, Refused where the provider's own error body says that nothing was created; Ambiguous
        for everything else that is not an answer. `lines` is used by providers without input files.
        """
        ...

    def batches(self) -> Iterator[BatchInfo]:
        """All batches that the account lists, newest first, page by page. Raises Transient or Blocked."""
        ...

    def batch(self, batch_id: str) -> BatchInfo:
        """One batch. Raises NotFound, Transient, Blocked."""
        ...

    def cancel(self, batch_id: str) -> None:
        """Ask for its cancellation; one that has ended is left alone. Raises NotFound, Transient, Blocked."""
        ...

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The lines of all its result files, without line feeds, streamed. Raises Transient if a stream is cut."""
        ...

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line, fast; None if the line is not readable."""
        ...

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line. Raises ValueError if the line is not readable."""
        ...

    def delete_input(self, input_file: str) -> None:
        """Delete an uploaded input file; one that is gone already is no error. Raises Transient or Blocked."""
        ...

    def input_files(self) -> Iterator[InputFile]:
        """All input files of batches that the account lists, other deployments' too. Raises Transient or Blocked."""
        ...

    def console_url(self, batch_id: str) -> str | None:
        """Where a person looks at the batch."""
        ...


@runtime_checkable
class Driven(Provider, Protocol):
    """A provider that executes requests only while it is driven: a host without a batch API."""

    def drive(self, batch_id: str, renew: Callable[[], None]) -> None:
        """Execute requests of a batch that is `due`, for some minutes at most; what is left is for the next call.

        `renew`, called between the steps, renews the account's lease and raises Transient where that has passed to
        another process. Raises Transient, Blocked.
        """
        ...
