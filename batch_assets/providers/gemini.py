"""Gemini's Developer API: files and batches through google-genai, an extra: `pip install "batch-assets[gemini]"`.

Facts relied on (v1beta reference, guide and SDK 3.4, read 2026-11; nothing here was tried on Google): a batch is made
of an uploaded file of up to 2 GB, or of requests in the create call below 20 MB; files take ids of the client's choice
(up to 40 of a-z, 0-9 and -) and live for 48 h; creating is not idempotent; there is no state of canceling; an expired
batch (48 h pending or running) has no results. Batches are documented for v1beta only,
which is pinned here: the SDK's default is v1 from version 3 on. The SDK drops counts, input and error of a batch, so
that batches are read by GETs of our own. Uncertain: the order of the list, whether it repeats inline results, how many
requests a batch takes (50,000 here), whether a canceled batch keeps what it finished, and the words of a full queue at
the create call (any 429 is one) or later (RESOURCE_EXHAUSTED, unexecuted).
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from batch_assets.admission import QueueLimits
from batch_assets.errors import ConfigError, NotFound, Refused, Transient
from batch_assets.model_names import check_model
from batch_assets.providers.gemini_lines import check_request, keyed_envelope, read_key, read_keyed
from batch_assets.providers.gemini_operations import (
    Operation,
    Operations,
    batch_info,
    inline_body,
    inline_lines,
    newest_first,
)
from batch_assets.providers.google import body_answer, creating, import_genai, reading
from batch_assets.providers.http import check_address, check_calls, creating_error, reading_error, retried, split_lines
from batch_assets.records import BatchInfo, BatchPhase, InputFile, Limits
from batch_assets.storage.scratch import scratch_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from batch_assets.providers.gemini_lines import LineEnvelope
    from batch_assets.providers.protocol import ResultLine
    from batch_assets.records import Request

_T = TypeVar("_T")

VERSION = "v1beta"
LIMITS = Limits(
    max_requests=50_000,
    max_bytes=2_000_000_000,
    max_request_bytes=20_000_000,
    completion_window="48h",
    results_kept_days=4,  # 48 h of running and 48 h, for which files live; users saw results kept for weeks
)
INLINE_BYTES = 500_000
"""Up to here a batch needs no input file; far below what is allowed, since lists may repeat inline results."""
_MOST_INLINE_BYTES = 15_000_000  # "below 20 MB", and the call itself has some bytes a request more
_PUBLIC_URL = "https://generativelanguage.googleapis.com"
_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_PAGE_SIZE = 50
_FEW = 5  # enough to see in which order a page is
_FILE_PREFIX = "ba-"
_JSONL = "application/jsonl"


class GeminiProvider:
    """One project at Google AI Studio: a key belongs to one, and lists the batches of that one."""

    vendor = "google"
    host: str | None = None
    limits = LIMITS
    assumed_batch_discount: Decimal | None = Decimal("0.5")

    def __init__(
        self,
        *,
        name: str = "gemini",
        api_key: str | None = None,
        base_url: str | None = None,
        project: str | None = None,
        timeout_seconds: float = 300,
        max_retries: int = 2,
        inline_bytes: int = INLINE_BYTES,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 180,
    ) -> None:
        """`project` names the account where several keys belong to different projects.

        Requests of `inline_bytes` at most go with the create call, without a file; 0: never. Raises ConfigError.
        """
        if not 0 <= inline_bytes <= _MOST_INLINE_BYTES:
            raise ConfigError(f"`inline_bytes` is {inline_bytes}; Gemini takes {_MOST_INLINE_BYTES:,} at most")
        if base_url:
            check_address("base_url", base_url, added=("/v1", "/v1beta"))
        check_calls(timeout_seconds, max_retries)
        self.name = name
        self.queue = queue or QueueLimits()
        self.listing_grace_seconds = listing_grace_seconds
        self._api_key = api_key or None
        self._base_url = (base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL") or _PUBLIC_URL).rstrip("/")
        self._project = project
        self._timeout_seconds = timeout_seconds
        self._max_retries = max_retries
        self._inline_bytes = inline_bytes

    def __repr__(self) -> str:
        return f"GeminiProvider(name={self.name!r})"

    @property
    def _key(self) -> str:
        key = self._api_key or next((os.environ[name] for name in _KEYS if os.environ.get(name)), None)
        if not key:
            raise ConfigError(
                f"the provider {self.name!r} has no API key: set `api_key` of its resource, or the environment "
                f"variable {_KEYS[0]}"
            )
        return key

    @cached_property
    def _client(self) -> Any:
        genai, types = import_genai(self.name, "gemini")
        options = types.HttpOptions(
            base_url=self._base_url, api_version=VERSION, timeout=int(self._timeout_seconds * 1000)
        )
        return genai.Client(vertexai=False, api_key=self._key, http_options=options)

    @cached_property
    def account(self) -> str:
        """Vendor, host where it is not Google's own, and project."""
        place = [] if self._base_url == _PUBLIC_URL else [urlsplit(self._base_url).netloc]
        return "+".join(["gemini", *place, *([self._project] if self._project else [])])

    def check_credentials(self) -> None:
        """Raise ConfigError naming the setting if there is no key, or the install line if there is no SDK."""
        _ = self._key
        import_genai(self.name, "gemini")

    def check(self, request: Request) -> None:
        """Refuse what the batch API would refuse. Raises ConfigError."""
        check_request(request)
        if self._base_url == _PUBLIC_URL:
            check_model(request.model, vendor=self.vendor, provider=self.name, endpoint=request.endpoint)

    def envelope(self, request: Request) -> LineEnvelope:
        """The constant part of the request lines."""
        return keyed_envelope(request)

    # ------------------------------------------------------------ batches

    def newest(self) -> str | None:
        """Id of the newest batch of the project."""
        found = next(newest_first(self._pages(_FEW)), None)
        return found.batch_id if found else None

    def batches(self) -> Iterator[BatchInfo]:
        """All batches of the project, newest first."""
        return newest_first(self._pages(_PAGE_SIZE))

    def _pages(self, size: int) -> Iterator[list[BatchInfo]]:
        query = {"pageSize": str(size)}
        while True:
            page = self._read("listing its batches", "batches", Operations, query)
            yield [batch_info(operation) for operation in page.operations]
            if not page.next_page_token:
                return
            query["pageToken"] = page.next_page_token

    def batch(self, batch_id: str) -> BatchInfo:
        """One batch."""
        return batch_info(self._read(f"reading batch {batch_id}", f"batches/{batch_id}", Operation, {}))

    def _read(self, what: str, path: str, kind: type[_T], query: Mapping[str, str]) -> _T:
        """A GET of our own. The key goes in a header: an address may be shown in an error."""
        import requests  # noqa: PLC0415  # of google-cloud-storage

        url, headers = f"{self._base_url}/{VERSION}/{path}", {"x-goog-api-key": self._key}

        def get() -> _T:
            with reading(self.name, what):
                answer = requests.get(url, params=dict(query), headers=headers, timeout=self._timeout_seconds)
            if answer.status_code != 200:
                raise reading_error(body_answer(self.name, what, answer.status_code, answer.content, answer.headers))
            try:
                return msgspec.json.decode(answer.content, type=kind)
            except msgspec.MsgspecError as error:
                raise Transient(f"{self.name}: {what} gave no answer: {error}", provider=self.name) from error

        return retried(get, self._max_retries)

    def cancel(self, batch_id: str) -> None:
        """Ask for its cancellation; one that has ended is left alone."""

        def ask() -> None:
            with reading(self.name, f"canceling batch {batch_id}"):
                self._client.batches.cancel(name=f"batches/{batch_id}")

        try:
            retried(ask, self._max_retries)
        except Refused:
            if self.batch(batch_id).phase is not BatchPhase.ENDED:
                raise

    def create(
        self,
        *,
        stamp: str,
        request: Request,
        input_file: str | None,
        lines: Callable[[], Iterator[bytes]],
        timeout_seconds: float,
    ) -> str:
        """Create the batch, once: `attempts=1` holds against the retries of every transport of the SDK."""
        if input_file is None:
            return self._create_inline(request.model, inline_body(stamp, lines()), timeout_seconds)
        client = self._client
        with creating(self.name, "creating a batch"):
            batch = client.batches.create(
                model=request.model,
                src=input_file,
                config={
                    "display_name": stamp,
                    "http_options": {"timeout": int(timeout_seconds * 1000), "retry_options": {"attempts": 1}},
                },
            )
            if not batch.name:
                raise ValueError("the answer names no batch")
            return str(batch.name).removeprefix("batches/")

    def _create_inline(self, model: str, body: bytes, timeout_seconds: float) -> str:
        """The same with the requests in the call; of the JSON itself, which the SDK would make types of."""
        import requests  # noqa: PLC0415  # of google-cloud-storage

        what = "creating a batch"
        url = f"{self._base_url}/{VERSION}/models/{model.removeprefix('models/')}:batchGenerateContent"
        headers = {"x-goog-api-key": self._key, "content-type": "application/json"}
        with creating(self.name, what):
            answer = requests.post(url, data=body, headers=headers, timeout=timeout_seconds, allow_redirects=False)
            if answer.status_code != 200:
                raise creating_error(body_answer(self.name, what, answer.status_code, answer.content, answer.headers))
            return msgspec.json.decode(answer.content, type=Operation).batch_id

    def console_url(self, batch_id: str) -> str | None:
        """Where a person looks at the project's batches; one has no documented page of its own."""
        return "https://aistudio.google.com/batches"

    # ------------------------------------------------------------ files

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Upload an input file under an id of our own, and return its name; None for a little one: it goes inline."""
        with scratch_file() as scratch:
            scratch.writelines(chunks)
            if scratch.tell() <= self._inline_bytes:
                return None

            def send() -> str:
                scratch.seek(0)
                own = f"files/{_FILE_PREFIX}{secrets.token_hex(16)}"
                config = {"name": own, "display_name": name, "mime_type": _JSONL}
                with reading(self.name, f"uploading {name}"):
                    try:
                        return str(self._client.files.upload(file=scratch, config=config).name)
                    except (KeyError, ValueError) as error:  # the SDK's words for an answer that it cannot use
                        raise Transient(
                            f"{self.name}: uploading {name} gave no answer: {error}", provider=self.name
                        ) from error

            return retried(send, self._max_retries)

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The lines of its responses file, fetched to local scratch, or those that it holds itself."""
        for file in batch.result_files:
            if file.startswith("batches/"):
                yield from inline_lines(
                    self._read(f"reading the results of batch {batch.batch_id}", file, Operation, {})
                )
                continue
            with scratch_file() as scratch:
                retried(partial(self._fetch, file, batch.batch_id, scratch), self._max_retries)
                scratch.seek(0)
                yield from split_lines(iter(partial(scratch.read, 1 << 20), b""))

    def _fetch(self, file: str, batch_id: str, scratch: IO[bytes]) -> None:
        """A file into local scratch; SDKs before 2 hold it in memory."""
        import requests  # noqa: PLC0415  # of google-cloud-storage

        scratch.seek(0)
        scratch.truncate()
        what = f"downloading {file} of batch {batch_id}"
        with reading(self.name, what):
            url, headers = f"{self._base_url}/{VERSION}/{file}:download?alt=media", {"x-goog-api-key": self._key}
            with requests.get(url, headers=headers, timeout=self._timeout_seconds, stream=True) as answer:
                if answer.status_code != 200:
                    raise reading_error(
                        body_answer(self.name, what, answer.status_code, answer.content, answer.headers)
                    )
                for chunk in answer.iter_content(1 << 20):
                    scratch.write(chunk)

    def delete_input(self, input_file: str) -> None:
        """Delete an uploaded input file."""

        def delete() -> None:
            with reading(self.name, f"deleting {input_file}"):
                self._client.files.delete(name=input_file)

        with suppress(NotFound):
            retried(delete, self._max_retries)

    def input_files(self) -> Iterator[InputFile]:
        """All files of the project that have an id of ours."""

        def read() -> list[InputFile]:
            with reading(self.name, "listing its files"):
                return [
                    InputFile(file_id=file.name, name=file.display_name or "")
                    for file in self._client.files.list(config={"page_size": _PAGE_SIZE})
                    if file.name.startswith(f"files/{_FILE_PREFIX}")
                ]

        yield from retried(read, self._max_retries)

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line."""
        return read_key(line)

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line. Raises ValueError."""
        return read_keyed(line)
