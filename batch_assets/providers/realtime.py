"""Hosts without a batch API (DeepSeek and others): a chat endpoint driven request by request, at standard price.

A "batch" is a small folder in a store of ours: its requests, its stamp, and the answers so far. `create` only writes
it, and so costs nothing and cannot be ambiguous. The requests are executed when the results are asked for, in waves of
`concurrency` requests, and every wave is durable before the next one begins: whoever dies in between has at most
`concurrency` requests executed again. That is the whole promise; there is nothing at the host that could be looked up.
A call of `results` works for `work_seconds` at most, so that the lease of the account holds, and says with Transient
that there is more; the next one goes on where it ended. Rate limits stop a wave, not a night: what was answered 429 is
asked again after the pause that the host wants.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec
import openai
import orjson

from batch_assets.encoding import encode_key
from batch_assets.errors import Blocked, ConfigError, NotFound, Refused, Transient
from batch_assets.providers.http import retry_after_seconds
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.openai_dialects import REALTIME_PRESETS
from batch_assets.records import BatchInfo, BatchPhase, InputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from batch_assets.admission import QueueLimits
    from batch_assets.providers.openai_dialects import OpenAIDialect
    from batch_assets.providers.openai_differences import Differences
    from batch_assets.records import Request
    from batch_assets.storage.protocol import ObjectStore

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_NOT_NOW = frozenset({429, 503, 529})
"""Statuses of a request that the host did not begin: it is asked again, and no attempt is counted."""
_STATE = "batch.json"
_CANCELED = "canceled.json"
_NOT_EXECUTED = {"code": "batch_cancelled", "message": "canceled before it was executed"}


class _State(msgspec.Struct, frozen=True):
    """What `create` writes."""

    stamp: str
    input_file: str
    requests: int


@dataclass(slots=True)
class _Answer:
    """What became of one request: its result line, or the wish of the host that it be asked again."""

    line: bytes | None = None
    pause_seconds: float | None = None
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
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 5,
    ) -> None:
        """`store`, or what opens it, is shared by all processes that work for the account.

        `timeout_seconds` is for one request; `requests_per_batch` is what is harvested, and retried, together.
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
        self._pace = _Pace(requests_per_minute)

    @cached_property
    def _store(self) -> ObjectStore:
        return self._open_store() if callable(self._open_store) else self._open_store

    @cached_property
    def account(self) -> str:
        """As for a host with batches, apart from those."""
        return f"realtime+{super().account}"

    @property
    def _root(self) -> str:
        return f"realtime/{encode_key(self.account)}"

    def console_url(self, batch_id: str) -> str | None:
        """There is nothing to look at."""
        return None

    # ------------------------------------------------------------ batches, in our own store

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Keep the requests; returns the name of the file."""
        input_file = f"{secrets.token_hex(8)}-{name}"
        with self._store.create(self._input(input_file)) as stream:
            stream.writelines(chunks)
        return input_file

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
        try:
            with self._store.fetch(self._input(input_file or "")) as file, file.open("rb") as content:
                requests = sum(1 for _ in content)
        except FileNotFoundError as error:
            raise Refused(f"the input file {input_file} is not there", provider=self.name, status=404) from error
        at = self._store.now()
        batch_id = f"rt-{int(at.timestamp() * 1000):014}-{secrets.token_hex(6)}"
        state = _State(stamp=stamp, input_file=input_file or "", requests=requests)
        self._store.write_new(f"{self._root}/batches/{batch_id}/{_STATE}", msgspec.json.encode(state))
        return batch_id

    def newest(self) -> str | None:
        """Id of the newest batch: ids begin with the time."""
        ids = self._ids()
        return ids[0] if ids else None

    def _ids(self) -> list[str]:
        paths = (found.path.split("/") for found in self._store.list(f"{self._root}/batches"))
        return sorted((parts[-2] for parts in paths if parts[-1] == _STATE), reverse=True)

    def batches(self) -> Iterator[BatchInfo]:
        """All batches that are not harvested yet, newest first."""
        for batch_id in self._ids():
            try:
                yield self.batch(batch_id)
            except NotFound:
                continue  # harvested meanwhile

    def batch(self, batch_id: str) -> BatchInfo:
        """One batch. It has ended from the start: what is left is done when its results are asked for."""
        state = self._state(batch_id)
        return BatchInfo(
            batch_id=batch_id,
            phase=BatchPhase.ENDED,
            raw_status="realtime",
            created_at=datetime.fromtimestamp(int(batch_id.split("-")[1]) / 1000, UTC),
            stamp=state.stamp,
            input_file=state.input_file,
            result_files=(batch_id,),
            total=state.requests,
            completed=state.requests,
            failed=0,
            ended_at=self._store.now(),
        )

    def _state(self, batch_id: str) -> _State:
        try:
            return msgspec.json.decode(self._store.read(f"{self._root}/batches/{batch_id}/{_STATE}"), type=_State)
        except FileNotFoundError as error:
            raise NotFound(f"there is no batch {batch_id} in {self._store.url}", provider=self.name) from error

    def cancel(self, batch_id: str) -> None:
        """What is not executed by now never will be."""
        self._state(batch_id)
        self._store.write_new(f"{self._root}/batches/{batch_id}/{_CANCELED}", b"{}")

    def delete_input(self, input_file: str) -> None:
        """Delete the requests, and the batch that was made of them."""
        for batch_id in self._ids():
            if self._state(batch_id).input_file == input_file:
                folder = f"{self._root}/batches/{batch_id}"
                for found in sorted(self._store.list(folder), key=lambda one: one.path.endswith(_STATE)):
                    self._store.delete(found.path)
        self._store.delete(self._input(input_file))

    def input_files(self) -> Iterator[InputFile]:
        """Those that no batch was made of."""
        used = {self._state(batch_id).input_file for batch_id in self._ids()}
        for found in self._store.list(f"{self._root}/inputs"):
            file_id = found.path.rpartition("/")[2]
            if file_id not in used:
                yield InputFile(file_id=file_id, name=file_id.partition("-")[2])

    def _input(self, input_file: str) -> str:
        return f"{self._root}/inputs/{input_file}"

    # ------------------------------------------------------------ the requests themselves

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The answers so far, then those that are still to be had, wave by wave.

        Raises Transient when the time is over, or the host wants a longer pause; Blocked when it wants a person.
        """
        state = self._state(batch.batch_id)
        self._pace.check(self.name)
        folder = f"{self._root}/batches/{batch.batch_id}"
        answered: set[str | None] = set()
        waves = 0
        for found in self._store.list(folder):
            if found.path.endswith(".jsonl"):
                waves += 1
                for line in self._store.read(found.path).splitlines():
                    answered.add(self.custom_id(line))
                    yield line
        left = [line for line in self._requests(state) if self.custom_id(line) not in answered]
        give_up_at = time.monotonic() + self._work_seconds
        pause = _FIRST_PAUSE_SECONDS
        with ThreadPoolExecutor(max_workers=self._concurrency) as pool:
            while left:
                if any(found.path.endswith(_CANCELED) for found in self._store.list(folder)):
                    yield from map(_canceled, left)
                    return
                wave, rest = left[: self._concurrency], left[self._concurrency :]
                answers = list(pool.map(self._answer_to, wave))
                lines = [answer.line for answer in answers if answer.line is not None]
                if lines:
                    if not self._store.write_new(f"{folder}/{waves:06}.jsonl", b"".join(lines)):
                        raise Transient(f"{self.name}: another process works on {batch.batch_id}", provider=self.name)
                    waves += 1
                    yield from (line.rstrip(b"\n") for line in lines)
                left = [line for line, answer in zip(wave, answers, strict=True) if answer.line is None] + rest
                for answer in answers:
                    if answer.blocked is not None:
                        raise answer.blocked
                pauses = [answer.pause_seconds for answer in answers if answer.line is None]
                wanted = max((pause if one is None else one for one in pauses), default=0.0)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if pauses else _FIRST_PAUSE_SECONDS
                if left and time.monotonic() + wanted > give_up_at:
                    done = state.requests - len(left)
                    text = f"{self.name}: {done:,} of {state.requests:,} requests are answered so far"
                    self._pace.hold(wanted)
                    raise Transient(text, provider=self.name, retry_after_seconds=wanted or None)
                time.sleep(wanted)

    def _requests(self, state: _State) -> list[bytes]:
        try:
            return self._store.read(self._input(state.input_file)).splitlines()
        except FileNotFoundError as error:
            raise NotFound(f"the requests {state.input_file} are gone", provider=self.name) from error

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
                return _Answer(pause_seconds=retry_after_seconds(answer.headers))
            if answer.status in {401, 402, 403} or answer.out_of_money or answer.unknown_model:
                text = f"{self.name}: a request was answered {answer.status}: {answer.message}"
                return _Answer(blocked=Blocked(text, provider=self.name, status=answer.status, code=answer.code))
            said = {"error": {"code": answer.code, "message": answer.message}}
            return _Answer(line=_written(custom_id, response={"status_code": answer.status, "body": said}))
        except openai.APIConnectionError as error:  # a timeout too
            if type(error.__cause__).__name__ in {"ConnectError", "ConnectTimeout"}:  # nothing was sent
                return _Answer()
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
        self._held_until = 0.0
        self._lock = Lock()

    def hold(self, seconds: float) -> None:
        """Nothing goes for so long."""
        self._held_until = time.monotonic() + seconds

    def check(self, name: str) -> None:
        """Raise Transient while nothing goes."""
        left = self._held_until - time.monotonic()
        if left > 0:
            raise Transient(f"{name}: the host wants a pause", provider=name, retry_after_seconds=left)

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
