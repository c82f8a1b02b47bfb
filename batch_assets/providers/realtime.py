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

import json
import time
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

import httpx
import openai
import orjson

from batch_assets.deadline import within
from batch_assets.encoding import encode_key
from batch_assets.errors import Blocked, ConfigError, Transient
from batch_assets.providers.http import retry_after_seconds
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.openai_dialects import REALTIME_PRESETS
from batch_assets.providers.realtime_batches import EXPIRED, RealtimeBatches, root_id
from batch_assets.providers.realtime_drive import Answer, Drive, Pace
from batch_assets.records import BatchPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from batch_assets.admission import QueueLimits
    from batch_assets.providers.openai_dialects import OpenAIDialect
    from batch_assets.providers.openai_differences import Differences
    from batch_assets.records import BatchInfo, InputFile, Request
    from batch_assets.storage.protocol import ObjectStore

_NOT_NOW = frozenset({429, 503, 529})
"""Statuses of a request that the host did not begin: it is asked again, and no attempt is counted."""
_CANCELED = {"code": "batch_cancelled", "message": "canceled before it was executed"}
_EXPIRED = {"code": "batch_expired", "message": "the host answered no request of its batch for 24 hours"}


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
        self._timeout_seconds = timeout_seconds
        self._blocked_seconds = blocked_seconds
        self._pace = Pace(requests_per_minute)

    @cached_property
    def account(self) -> str:
        """As for a host with batches, apart from those; of another store it is another one."""
        return f"realtime+{super().account}+{root_id(self._store)}"

    @cached_property
    def _batches(self) -> RealtimeBatches:
        return RealtimeBatches(self._store, f"realtime/{encode_key(self.account)}", name=self.name)

    @cached_property
    def _store(self) -> ObjectStore:
        return self._open_store() if callable(self._open_store) else self._open_store

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
        return self._batches.create(stamp, input_file or "", request.model)

    def newest(self) -> str | None:
        """Id of the newest batch: ids begin with the time."""
        return self._batches.newest()

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
        """Those of all batches, and those that no batch was made of."""
        return self._batches.input_files()

    # ------------------------------------------------------------ the requests themselves

    def drive(self, batch_id: str, renew: Callable[[], None]) -> None:
        """Execute requests of the batch until all are answered, the time is over, or the host wants a pause that is
        longer than that.

        Raises Blocked when the host wants a person, Transient if another process works on the batch.
        """
        batches = self._batches
        if batches.is_held(batches.model(batch_id)):  # because of another batch, since this one was looked at
            return
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
        """The answers as they came, and a line for each request that was not executed before the batch ended.

        Raises Transient while requests are left.
        """
        answered = set()
        for line in self._batches.answers(batch.batch_id):
            answered.add(self.custom_id(line))
            yield line
        left = [line for line in self._batches.requests(batch.batch_id) if self.custom_id(line) not in answered]
        if left and batch.phase is not BatchPhase.ENDED:
            done = f"{len(answered):,} of {len(answered) + len(left):,}"
            raise Transient(f"{self.name}: {done} requests are answered so far", provider=self.name)
        for line in left:
            custom_id = self.custom_id(line) or ""
            yield _result(custom_id, error=_EXPIRED if batch.raw_status == EXPIRED else _CANCELED).rstrip(b"\n")

    def _ask(self, line: bytes) -> Answer:
        """Ask the host, once. Whatever comes of it becomes an answer: those to other requests are to be kept."""
        request = orjson.loads(line)
        custom_id, path = request["custom_id"], request["url"].removeprefix("/v1")
        self._pace.wait()
        at = time.monotonic()

        def post() -> httpx.Response:
            return self._client.post(path, cast_to=httpx.Response, body=request["body"])

        try:
            response = within(self._timeout_seconds, post)
        except openai.APIStatusError as error:
            return self._refused(custom_id, error, at)
        except openai.APIConnectionError as error:
            if type(error.__cause__).__name__ in {"ConnectError", "ConnectTimeout"}:  # nothing was sent
                said = f"the host cannot be reached: {error.__cause__}"
                return Answer(asked_at=at, said=said, unreachable=True)
            return Answer(asked_at=at, line=_unanswered(custom_id, error))
        except Exception as error:  # noqa: BLE001  # DeadlineExceeded, or one that nobody has thought of
            return Answer(asked_at=at, line=_unanswered(custom_id, error))
        return self._answered(custom_id, response, at)

    def _answered(self, custom_id: str, response: httpx.Response, at: float) -> Answer:
        content = response.content.strip()
        body = _object(content)
        if body is not None:
            return Answer(asked_at=at, line=_result(custom_id, status=response.status_code, body=body))
        if not content or content.startswith(b"{"):
            return Answer(asked_at=at, line=_unanswered(custom_id, "the answer is cut off"))
        text = f"{self.name}: a request was answered by a page that is not the API's; check `base_url`"
        return Answer(asked_at=at, blocked=Blocked(text, provider=self.name, status=response.status_code))

    def _refused(self, custom_id: str, error: openai.APIStatusError, at: float) -> Answer:
        answer = self._answer("a request", error)
        status = answer.status
        said = f"a request was answered {status}: {' '.join(answer.message.split())}"
        line = _result(custom_id, status=status, body={"error": {"code": answer.code, "message": answer.message}})
        if status in _NOT_NOW and not answer.out_of_money:
            pause = retry_after_seconds(answer.headers)
            return Answer(asked_at=at, said=said, pause_seconds=pause, given_up=line if status == 429 else None)
        is_page = status < 500 and _object(error.response.content) is None
        account = is_page or status in {401, 402} or answer.out_of_money
        if not account and status not in {403, 404, 405}:
            return Answer(asked_at=at, line=line)
        cure = "; check `base_url`" if is_page else "; check `model` and `base_url`" if status in {404, 405} else ""
        blocked = Blocked(
            f"{self.name}: {said}{cure}", whole_account=account, provider=self.name, status=status, code=answer.code
        )
        own = _result(custom_id, error={"code": answer.code or str(status), "message": said})  # may be tried again
        return Answer(asked_at=at, blocked=blocked, given_up=None if account else own)


deepseek = partial(RealtimeProvider, dialect="deepseek")
"""By name, for the registry."""


def _result(
    custom_id: str, *, status: int = 0, body: Mapping[str, Any] | None = None, error: Mapping[str, str] | None = None
) -> bytes:
    """A result line as OpenAI's batches have them. Halves of surrogate pairs, which no UTF-8 has, become `?`."""
    response = None if body is None else {"status_code": status, "body": body}
    written = json.dumps({"custom_id": custom_id, "response": response, "error": error}, ensure_ascii=False)
    return written.encode("utf-8", "replace") + b"\n"


def _unanswered(custom_id: str, why: object) -> bytes:
    return _result(custom_id, error={"code": "no_answer", "message": f"the host did not answer: {why}"})


def _object(content: bytes) -> dict[str, Any] | None:
    """The JSON object that an API answers with; None for what is none."""
    try:
        value = json.loads(content, parse_constant=_no_number)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
