"""Hosts without a batch API (DeepSeek and others): a chat endpoint driven request by request, at standard price.

A "batch" is a small folder in a store of ours (realtime_batches.py): its requests, its stamp, and the answers so far.
`create` only writes it, and so costs nothing and cannot be ambiguous. `drive` executes the requests, at most
`concurrency` at one time, and keeps what is answered before more is asked (realtime_drive.py): whoever dies in between
has at most `concurrency` requests executed again. That is the whole promise; there is nothing at the host that could
be looked up. One call of `drive` works for some minutes; the next one goes on where it ended. Rate limits stop the
work, not the night: what was answered 429 is asked again after the pause that the host wants, and a pause beyond the
call's time is written down for the whole account.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import openai
import orjson

from batch_assets.encoding import encode_key
from batch_assets.errors import Blocked, ConfigError, Transient
from batch_assets.providers.http import retry_after_seconds
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.openai_dialects import REALTIME_PRESETS
from batch_assets.providers.realtime_batches import RealtimeBatches
from batch_assets.providers.realtime_drive import Answer, Drive, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from batch_assets.admission import QueueLimits
    from batch_assets.providers.openai_dialects import OpenAIDialect
    from batch_assets.providers.openai_differences import Differences
    from batch_assets.records import BatchInfo, InputFile, Request
    from batch_assets.storage.protocol import ObjectStore

_NOT_NOW = frozenset({429, 503, 529})
"""Statuses of a request that the host did not begin: it is asked again, and no attempt is counted."""
_NOT_EXECUTED = {"code": "batch_cancelled", "message": "canceled before it was executed"}


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
        self._pace = Pace(requests_per_minute)

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
        """Execute requests of the batch until all are answered, the time is over, or the host wants a pause that is
        longer than that.

        Raises Blocked when the host wants a person, Transient if another process works on the batch.
        """
        batches = self._batches
        if batches.hold() is not None:  # of another batch, since this one was looked at
            return
        batches.forget_holds()
        answered = {self.custom_id(line) for line in batches.answers(batch_id)}
        work = Drive(
            batches,
            batch_id,
            [line for line in batches.requests(batch_id) if self.custom_id(line) not in answered],
            kept=len(answered),
            ask=self._ask,
            concurrency=self._concurrency,
            seconds=self._work_seconds,
            blocked_seconds=self._blocked_seconds,
        )
        work.run(renew)

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The answers as they came, and a line for each request that was canceled before it was executed.

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

    def _ask(self, line: bytes) -> Answer:
        """Ask the host, once."""
        request = orjson.loads(line)
        custom_id = request["custom_id"]
        self._pace.wait()
        at = time.monotonic()
        try:
            path = request["url"].removeprefix("/v1")
            body = self._client.post(path, cast_to=object, body=request["body"])
        except openai.APIStatusError as error:
            answer = self._answer("a request", error)
            said = f"a request was answered {answer.status}: {answer.message}"
            if answer.status in _NOT_NOW and not answer.out_of_money:
                return Answer(asked_at=at, not_now=said, pause_seconds=retry_after_seconds(answer.headers))
            if answer.status in {401, 402, 403} or answer.out_of_money or answer.unknown_model:
                facts = {"provider": self.name, "status": answer.status, "code": answer.code}
                return Answer(asked_at=at, blocked=Blocked(f"{self.name}: {said}", **facts))  # type: ignore[arg-type]
            body = {"error": {"code": answer.code, "message": answer.message}}
            line = _written(custom_id, response={"status_code": answer.status, "body": body})
            return Answer(asked_at=at, line=line)
        except openai.APIConnectionError as error:  # a timeout too
            if type(error.__cause__).__name__ in {"ConnectError", "ConnectTimeout"}:  # nothing was sent
                return Answer(asked_at=at, not_now=f"the host cannot be reached: {error.__cause__}")
            lost = {"code": "no_answer", "message": f"the host did not answer: {error}"}
            return Answer(asked_at=at, line=_written(custom_id, error=lost))
        return Answer(asked_at=at, line=_written(custom_id, response={"status_code": 200, "body": body}))


deepseek = partial(RealtimeProvider, dialect="deepseek")
"""By name, for the registry."""


def _written(custom_id: str, *, response: object = None, error: object = None) -> bytes:
    """A result line as OpenAI's batches have them."""
    written = {"custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(written, option=orjson.OPT_APPEND_NEWLINE)


def _canceled(line: bytes) -> bytes:
    return _written(orjson.loads(line)["custom_id"], error=_NOT_EXECUTED).rstrip(b"\n")
