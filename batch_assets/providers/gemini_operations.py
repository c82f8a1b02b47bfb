"""Batches of the Gemini API as the API gives them, read into what the engine knows; requests and results inline.

The SDK drops counts, input and error of a batch, and reads inline requests into types of its own: these are the JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import orjson

from batch_assets.records import BatchInfo, BatchPhase, Ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PHASES = {
    "BATCH_STATE_PENDING": BatchPhase.RUNNING,
    "BATCH_STATE_RUNNING": BatchPhase.RUNNING,
    "BATCH_STATE_SUCCEEDED": BatchPhase.ENDED,
    "BATCH_STATE_FAILED": BatchPhase.ENDED,
    "BATCH_STATE_CANCELLED": BatchPhase.ENDED,
    "BATCH_STATE_EXPIRED": BatchPhase.ENDED,
}
_ENDINGS = {
    "BATCH_STATE_SUCCEEDED": Ending.COMPLETED,
    "BATCH_STATE_FAILED": Ending.FAILED,
    "BATCH_STATE_CANCELLED": Ending.CANCELED,
    "BATCH_STATE_EXPIRED": Ending.EXPIRED,
}
_WITH_RESULTS = ("BATCH_STATE_SUCCEEDED", "BATCH_STATE_CANCELLED")
_EXHAUSTED, _DENIED = 8, 7  # google.rpc.Code


class _Tag(msgspec.Struct):
    key: str | None = None


class _InlineResult(msgspec.Struct):
    metadata: _Tag = msgspec.field(default_factory=_Tag)
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Input(msgspec.Struct, rename="camel"):
    file_name: str | None = None


class _Inlined(msgspec.Struct, rename="camel"):
    inlined_responses: list[_InlineResult] = []


class _Output(msgspec.Struct, rename="camel"):
    responses_file: str | None = None
    inlined_responses: _Inlined | None = None


class _Stats(msgspec.Struct, rename="camel"):
    """Counts are texts, as 64-bit numbers are in the JSON of protocol buffers."""

    request_count: str | int = 0
    successful_request_count: str | int = 0
    failed_request_count: str | int = 0


class _Error(msgspec.Struct):
    code: int = 0
    message: str | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    create_time: datetime
    state: str = "BATCH_STATE_UNSPECIFIED"
    display_name: str | None = None
    end_time: datetime | None = None
    input_config: _Input = msgspec.field(default_factory=_Input)
    output: _Output = msgspec.field(default_factory=_Output)
    batch_stats: _Stats = msgspec.field(default_factory=_Stats)


class Operation(msgspec.Struct):
    name: str
    metadata: _Metadata
    error: _Error | None = None

    @property
    def batch_id(self) -> str:
        return self.name.removeprefix("batches/")


class Operations(msgspec.Struct, rename="camel"):
    operations: list[Operation] = []
    next_page_token: str | None = None


def newest_first(pages: Iterator[list[BatchInfo]]) -> Iterator[BatchInfo]:
    """The batches of a listing, newest first: page by page where the listing is in that order, else all of them sorted.

    The order is not documented; it is seen on the first page, where that has two batches or more.
    """
    first = next(pages, [])
    times = [batch.created_at for batch in first]
    if times == sorted(times, reverse=True):
        yield from first
        for page in pages:
            yield from page
        return
    yield from sorted(
        [*first, *(batch for page in pages for batch in page)], key=lambda batch: batch.created_at, reverse=True
    )


# ---------------------------------------------------------------- inline


class _Line(msgspec.Struct):
    key: str
    request: msgspec.Raw


_LINES = msgspec.json.Decoder(_Line)


def inline_body(stamp: str, lines: Iterable[bytes]) -> bytes:
    """The body of a create call with its requests in it; `lines` are those of an input file."""
    requests = b",".join(
        b'{"metadata":{"key":"%s"},"request":%s}' % (read.key.encode(), bytes(read.request))
        for read in map(_LINES.decode, lines)
    )
    name = orjson.dumps(stamp)
    return b'{"batch":{"displayName":%s,"inputConfig":{"requests":{"requests":[%s]}}}}' % (name, requests)


def inline_lines(operation: Operation) -> Iterator[bytes]:
    """The results within a batch, as lines of a result file. One without its key is a line that cannot be read."""
    inlined = operation.metadata.output.inlined_responses
    for result in inlined.inlined_responses if inlined else ():
        name, value = (b"response", result.response) if bytes(result.response) else (b"error", result.error)
        yield b'{"key":%s,"%s":%s}' % (orjson.dumps(result.metadata.key), name, bytes(value) or b"null")


def batch_info(operation: Operation) -> BatchInfo:
    """What the engine knows of a batch."""
    metadata, stats, error = operation.metadata, operation.metadata.batch_stats, operation.error
    phase = _PHASES.get(metadata.state, BatchPhase.UNKNOWN)
    completed = int(stats.successful_request_count)
    inline = metadata.input_config.file_name is None and metadata.state in _WITH_RESULTS
    file = metadata.output.responses_file or (operation.name if inline else None)
    unexecuted = metadata.state == "BATCH_STATE_FAILED" and not completed
    return BatchInfo(
        batch_id=operation.batch_id,
        phase=phase,
        raw_status=metadata.state,
        created_at=metadata.create_time.astimezone(UTC),
        stamp=metadata.display_name,
        input_file=metadata.input_config.file_name,
        result_files=(file,) if file else (),
        total=int(stats.request_count) or None,
        completed=completed,
        failed=int(stats.failed_request_count),
        ending=_ENDINGS.get(metadata.state),
        ended_at=metadata.end_time.astimezone(UTC) if metadata.end_time and phase is BatchPhase.ENDED else None,
        error_code=str(error.code) if error else None,
        error_message=error.message if error else None,
        queue_full=unexecuted and error is not None and error.code == _EXHAUSTED,
        blocked=unexecuted and error is not None and error.code == _DENIED,
    )
