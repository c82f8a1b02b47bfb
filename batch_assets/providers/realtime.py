"""Hosts without a batch API (DeepSeek and others): a chat endpoint driven request by request, at standard price.

A "batch" is a small folder in a store of ours (realtime_batches.py): its requests, its stamp, and the answers so far.
`create` only writes it, and so costs nothing and cannot be ambiguous. `drive` executes the requests in waves of
`concurrency`, and every wave is durable before the next one begins: whoever dies in between has at most `concurrency`
requests executed again. That is the whole promise; there is nothing at the host that could be looked up. One call of
`drive` works for some minutes; the next one goes on where it ended. Rate limits stop a wave, not a night: what was
answered 429 is asked again after the pause that the host wants, and a pause beyond the call's time is written down for
the whole account.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import openai
import orjson

from batch_assets.encoding import encode_key
from batch_assets.errors import Blocked, ConfigError, Transient
from batch_assets.providers.http import retry_after_seconds
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.openai_dialects import REALTIME_PRESETS
from batch_assets.providers.realtime_batches import RealtimeBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from batch_assets.admission import QueueLimits
    from batch_assets.providers.openai_dialects import OpenAIDialect
    from batch_assets.providers.openai_differences import Differences
    from batch_assets.records import BatchInfo, InputFile, Request
    from batch_assets.storage.protocol import ObjectStore

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_NOT_NOW = frozenset({429, 503, 529})
"""Statuses of a request that the host did not begin: it is asked again, and no attempt is counted."""
_NOT_EXECUTED = {"code": "batch_cancelled", "message": "canceled before it was executed"}


@dataclass(slots=True)
class _Answer:
    """What became of one request: its result line, or the wish of the host that it be asked again."""

    line: bytes | None = None
    pause_seconds: float | None = None
    not_now: str | None = None
    """Why it is asked again."""
    blocked: Blocked | None = None


class RealtimeProvider(OpenAICompatibleProvider):
    """One account at a host with an OpenAI-compatible chat endpoint; `store` keeps what is under way."""

    presets: Mapping[str, OpenAIDialect] = REALTIME_PRESETS

    def __init__(
        self,
        *,
        store: ObjectStore | Callable[[], ObjectStore],
        dialect: OpenAIDialect | str,
        differences: Differences | Mapping[str, Any] | None = None,
        name: str | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        account_name: str | None = None,
        api_version: str | None = None,
        headers: Mapping[str, str] | None = None,
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        work_seconds: float = 150,
        requests_per_batch: int = 500,
        timeout_seconds: float = 120,
        blocked_seconds: float = 300,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 5,
    ) -> None:
        """`store`, or what opens it, is shared by all processes that work for the account.

        `timeout_seconds` is for one request; `requests_per_batch` is what is harvested, and retried, together. After
        an answer that a person has to mend (a wrong key, no money) the host is left alone for `blocked_seconds`.
        Raises ConfigError.
        """
        for setting, value in {"concurrency": concurrency, "requests_per_batch": requests_per_batch}.items():
            if value < 1:
                raise ConfigError(f"`{setting}` is {value}; at least 1 is needed")
        if requests_per_minute is not None and requests_per_minute <= 0:
            raise ConfigError(
                f"`requests_per_minute` is {requests_per_minute}; write a positive number, or leave it out"
            )
        super().__init__(
            dialect=dialect,
            differences=differences,
            name=name,
            api_key=api_key,
            base_url=base_url,
            account_name=account_name,
            api_version=api_version,
            headers=headers,
            timeout_seconds=timeout_seconds,
            max_retries=0,
            queue=queue,
            listing_grace_seconds=listing_grace_seconds,
        )
        self.limits = replace(
            self.limits, max_requests=requests_per_batch, realtime=True, results_kept_days=3650, stamped=True
        )
        self.assumed_batch_discount = None
        self._open_store = store
        self._concurrency = concurrency
        self._work_seconds = work_seconds
        self._blocked_seconds = blocked_seconds
        self._pace = _Pace(requests_per_minute)

    @cached_property
    def account(self) -> str:
        """As for a host with batches, apart from those."""
        return f"realtime+{super().account}"

    @cached_property
    def _batches(self) -> RealtimeBatches:
        store = self._open_store() if callable(self._open_store) else self._open_store
        return RealtimeBatches(store, f"realtime/{encode_key(self.account)}", name=self.name)

    def console_url(self, batch_id: str) -> str | None:
        """There is nothing to look at."""
        return None

    # ------------------------------------------------------------ batches, in our own store

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Keep the requests; returns the name of the file."""
        return self._batches.upload(name, chunks)

    def create(
        self,
        *,
        stamp: str,
        request: Request,
        input_file: str | None,
        lines: Callable[[], Iterator[bytes]],
        timeout_seconds: float,
    ) -> str:
        """Write the batch down; nothing is executed yet."""
        return self._batches.create(stamp, input_file or "")

    def newest(self) -> str | None:
        """Id of the newest batch: ids begin with the time."""
        return next(iter(self._batches.ids()), None)

    def batches(self) -> Iterator[BatchInfo]:
        """All batches that are not harvested yet, newest first."""
        return self._batches.infos()

    def batch(self, batch_id: str) -> BatchInfo:
        """One batch. It runs as long as requests of it are left, and is due unless the host wants a pause."""
        return self._batches.info(batch_id)

    def cancel(self, batch_id: str) -> None:
        """What is not executed by now never will be."""
        self._batches.cancel(batch_id)

    def delete_input(self, input_file: str) -> None:
        """Delete the requests, and the batch that was made of them."""
        self._batches.delete_input(input_file)

    def input_files(self) -> Iterator[InputFile]:
        """Those that no batch was made of."""
        return self._batches.input_files()

    # ------------------------------------------------------------ the requests themselves

    def drive(self, batch_id: str, renew: Callable[[], None]) -> None:
        """Execute requests of the batch, wave by wave, until all are answered, the time is over, or the host wants a
        pause that is longer than that.

        Raises Blocked when the host wants a person, Transient if another process works on the batch.
        """
        batches = self._batches
        if batches.hold() is not None:  # of another batch, since this one was looked at
            return
        batches.forget_holds()
        requests = batches.requests(batch_id)
        answered = {self.custom_id(line) for line in batches.answers(batch_id)}
        left = [line for line in requests if self.custom_id(line) not in answered]
        give_up_at = time.monotonic() + self._work_seconds
        pause = _FIRST_PAUSE_SECONDS
        with ThreadPoolExecutor(max_workers=self._concurrency) as pool:
            while left and not batches.is_canceled(batch_id):
                renew()
                wave, rest = left[: self._concurrency], left[self._concurrency :]
                answers = list(pool.map(self._answer_to, wave))
                lines = [answer.line for answer in answers if answer.line is not None]
                if lines and not batches.add_answers(batch_id, lines, before=len(requests) - len(left)):
                    raise Transient(f"{self.name}: another process works on {batch_id}", provider=self.name)
                again = [answer for answer in answers if answer.line is None]
                left = [line for line, answer in zip(wave, answers, strict=True) if answer.line is None] + rest
                for answer in again:
                    if answer.blocked is not None:
                        batches.write_hold(self._blocked_seconds, str(answer.blocked))
                        raise answer.blocked
                wanted = max((pause if one.pause_seconds is None else one.pause_seconds for one in again), default=0.0)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if again else _FIRST_PAUSE_SECONDS
                if time.monotonic() + wanted > give_up_at:
                    if again:
                        batches.write_hold(wanted, again[0].not_now or "")
                    return
                time.sleep(wanted)

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The answers, wave by wave, and a line for each request that was canceled before it was executed.

        Raises Transient while requests are left.
        """
        answered = set()
        for line in self._batches.answers(batch.batch_id):
            answered.add(self.custom_id(line))
            yield line
        requests = self._batches.requests(batch.batch_id)
        if len(answered) == len(requests):
            return
        if not self._batches.is_canceled(batch.batch_id):
            done = f"{len(answered):,} of {len(requests):,}"
            raise Transient(f"{self.name}: {done} requests are answered so far", provider=self.name)
        for line in requests:
            if self.custom_id(line) not in answered:
                yield _canceled(line)

    def _answer_to(self, line: bytes) -> _Answer:
        """Ask the host, once."""
        request = orjson.loads(line)
        custom_id = request["custom_id"]
        self._pace.wait()
        try:
            path = request["url"].removeprefix("/v1")
            body = self._client.post(path, cast_to=object, body=request["body"])
        except openai.APIStatusError as error:
            answer = self._answer("a request", error)
            if answer.status in _NOT_NOW and not answer.out_of_money:
                said = f"a request was answered {answer.status}: {answer.message}"
                return _Answer(not_now=said, pause_seconds=retry_after_seconds(answer.headers))
            if answer.status in {401, 402, 403} or answer.out_of_money or answer.unknown_model:
                text = f"{self.name}: a request was answered {answer.status}: {answer.message}"
                return _Answer(blocked=Blocked(text, provider=self.name, status=answer.status, code=answer.code))
            body = {"error": {"code": answer.code, "message": answer.message}}
            return _Answer(line=_written(custom_id, response={"status_code": answer.status, "body": body}))
        except openai.APIConnectionError as error:  # a timeout too
            if type(error.__cause__).__name__ in {"ConnectError", "ConnectTimeout"}:  # nothing was sent
                return _Answer(not_now=f"the host cannot be reached: {error.__cause__}")
            lost = {"code": "no_answer", "message": f"the host did not answer: {error}"}
            return _Answer(line=_written(custom_id, error=lost))
        return _Answer(line=_written(custom_id, response={"status_code": 200, "body": body}))


deepseek = partial(RealtimeProvider, dialect="deepseek")
"""By name, for the registry."""


class _Pace:
    """Lets requests go at an even rate, whichever thread they come from."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap_seconds = 60.0 / per_minute if per_minute else 0.0
        self._next_at = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        if not self._gap_seconds:
            return
        with self._lock:
            at = max(self._next_at, time.monotonic())
            self._next_at = at + self._gap_seconds
        time.sleep(max(0.0, at - time.monotonic()))


def _written(custom_id: str, *, response: object = None, error: object = None) -> bytes:
    """A result line as OpenAI's batches have them."""
    written = {"custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE)


def _canceled(line: bytes) -> bytes:
    return _written(orjson.loads(line)["custom_id"], error=_NOT_EXECUTED).rstrip(b"\n")
