"""What a provider's suite is told of the provider, and what its tests do with it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import orjson
import pytest

from batch_assets.errors import Ambiguous, Blocked, ProviderError, QueueFull, Refused
from batch_assets.fingerprint import Fingerprinter, custom_ids
from batch_assets.providers.protocol import Driven, Provider, ResultLine
from batch_assets.records import BatchInfo, BatchPhase, Ending, Outcome, Request

SECRET = "sk-contract-SECRET-0123456789"  # noqa: S105 -- of the emulator
SHARD = "abcdefghij"
STAMP = f"0123456789abcdef/default/{SHARD}"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["card_arrival", "lost_card", "other"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["intent", "note"],
    "additionalProperties": False,
}


class Controls(Protocol):
    """What the tests do to a running emulator; ours has it."""

    def arm(self, fault: str, *, operation: str | None = None, **spec: Any) -> int:
        """Let a fault strike: its name in our catalogue, the operation, how often, its parameters."""
        ...

    def bill(self, *, detail: bool = False) -> dict[str, Any]:
        """Per provider: requests that would be billed, how many of them are distinct, tokens."""
        ...

    def set_limits(self, provider: str, **limits: Any) -> None:
        """Put limits in place of the provider's own."""
        ...

    def set_latency(self, seconds: float) -> None:
        """How long batches take that are created from now on."""
        ...

    def advance(self, seconds: float) -> float:
        """Let time pass."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One provider in front of one emulator."""

    provider: Provider
    emulator: Controls
    model: str
    emulated: str
    endpoint: Literal["chat", "responses"] = "chat"

    def request(self, **more: Any) -> Request:
        """The constant part of requests for text."""
        given = {"model": self.model, "endpoint": self.endpoint, "max_output_tokens": 200}
        return Request(**{**given, **more})

    def lines(self, texts: Sequence[str], request: Request | None = None) -> list[bytes]:
        """The wire lines of a shard with these texts, which are distinct."""
        request = request or self.request()
        contents = [orjson.dumps(text) for text in texts]
        return list(self.provider.envelope(request).lines(self.ids(texts, request), contents))

    def ids(self, texts: Sequence[str], request: Request | None = None) -> list[str]:
        """The custom_ids of these lines."""
        contents = [orjson.dumps(text) for text in texts]
        request = request or self.request()
        prints = Fingerprinter(request, vendor=self.provider.vendor, host=self.provider.host).of(contents)
        return list(custom_ids(SHARD, prints))

    def send(self, texts: Sequence[str], request: Request | None = None, *, timeout_seconds: float = 20) -> str:
        """Upload and create; the batch's id."""
        request = request or self.request()
        lines = self.lines(texts, request)
        return self.provider.create(
            stamp=STAMP,
            request=request,
            input_file=self.provider.upload(f"{SHARD}.jsonl", iter(lines)),
            lines=lambda: iter(lines),
            timeout_seconds=timeout_seconds,
        )

    def ended(self, batch_id: str, timeout_seconds: float = 20) -> BatchInfo:
        """The batch once it runs no more; a provider that has to be driven is."""
        deadline = time.monotonic() + timeout_seconds
        while (batch := self.provider.batch(batch_id)).phase is not BatchPhase.ENDED:
            assert time.monotonic() < deadline, batch
            if isinstance(self.provider, Driven):
                self.provider.drive(batch_id, lambda: None)
            else:
                time.sleep(0.01)
        return batch

    def results(self, batch: BatchInfo) -> list[ResultLine]:
        """Its results, read; both ways to read a custom_id agree, and no request has two."""
        results = []
        for line in self.provider.results(batch):
            result = self.provider.parse(line)
            assert self.provider.custom_id(line) == result.custom_id
            results.append(result)
        assert len({result.custom_id for result in results}) == len(results)
        return results

    def run(self, texts: Sequence[str], request: Request | None = None) -> list[ResultLine]:
        """The results of a batch with these texts, in their order."""
        ids = self.ids(texts, request)
        found = {result.custom_id: result for result in self.results(self.ended(self.send(texts, request)))}
        assert found.keys() == set(ids)
        return [found[custom_id] for custom_id in ids]

    def is_refused(self, texts: Sequence[str]) -> bool:
        """Whether the provider takes no batch with these texts: at the create call, or later and as a whole."""
        try:
            batch = self.ended(self.send(texts))
        except Refused:
            return True
        return batch.ending is Ending.FAILED

    def listed(self) -> list[BatchInfo]:
        """All batches of the account, newest first."""
        return list(self.provider.batches())

    @property
    def bill(self) -> dict[str, int]:
        """What the provider would have billed."""
        none = {"requests": 0, "distinct": 0, "surplus": 0, "input_tokens": 0, "output_tokens": 0}
        return {**none, **self.emulator.bill().get(self.emulated, {})}


class Contract:
    """The data of a provider, and how one is made."""

    model: ClassVar[str]
    """A model that the provider knows."""
    emulated: ClassVar[str]
    """Key of the provider in the emulator's bill, faults and limits."""
    key_variable: ClassVar[str | None] = None
    """The environment variable that holds the key where the resource has none."""
    status_of_canceled: ClassVar[Ending | None] = Ending.CANCELED
    """`ending` of a canceled batch; None where every request has a line of its own."""
    status_of_expired: ClassVar[Ending | None] = Ending.EXPIRED
    endpoint: ClassVar[Literal["chat", "responses"]] = "chat"
    """The endpoint that requests are made for."""
    statuses: ClassVar[Mapping[str, tuple[BatchPhase, Ending | None]]]
    """Every status that the provider's documents name, as it is on the wire, with what it means."""
    shows_stamp: ClassVar[bool] = True
    """False: a listing shows the input file of a batch, and nothing else by which it is known."""
    fails_as_a_whole: ClassVar[bool] = True
    """Whether a batch may fail after its creation, with nothing executed."""
    answered_busy: ClassVar[tuple[Outcome, bool]] = (Outcome.ERRORED, True)
    """Outcome of a request that was answered 429 once, and whether it is to be sent again."""
    frame_bytes: ClassVar[int] = 0
    """Bytes of what the provider counts beyond the lines: of the brackets around inline requests."""
    refused_params: ClassVar[Mapping[str, object]] = MappingProxyType({"stream": True})
    """Parameters of which the batch API refuses each."""
    taken_params: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Parameters that it takes, all at once, with a schema too: those that stand beside what the provider sets."""
    refused_schemas: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Strict schemas, each outside of what the provider takes."""
    created: ClassVar[Mapping[int, type[ProviderError]]] = MappingProxyType(
        {
            400: Refused,
            401: Blocked,
            402: Blocked,
            403: Blocked,
            404: Refused,
            408: Ambiguous,
            409: Ambiguous,
            413: Refused,
            429: QueueFull,
            500: Ambiguous,
            503: Ambiguous,
            529: Ambiguous,
        }
    )
    """What a create call raises that is answered with a status and the provider's own error body."""
    out_of_money: ClassVar[Sequence[Mapping[str, object]]] = ()
    """Parameters of the fault `refused` (status, code, message, type) that say that the money is used up."""

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> Provider:
        """The provider with this key, its calls going to the emulator, failed reads repeated so often."""
        raise NotImplementedError

    @pytest.fixture
    def emulator(self, batch_emulator: Controls) -> Controls:
        """A clean emulator whose batches complete at once; override it for one of your own."""
        return batch_emulator

    @pytest.fixture
    def provider(self, emulator: Controls) -> Provider:
        """The provider under test."""
        return self.provide(emulator, SECRET)

    @pytest.fixture
    def bench(self, provider: Provider, emulator: Controls) -> Bench:
        """The provider in front of the emulator."""
        return self.bench_of(provider, emulator)

    def bench_of(self, provider: Provider, emulator: Controls) -> Bench:
        """A provider in front of the emulator."""
        return Bench(
            provider=provider,
            emulator=emulator,
            model=self.model,
            emulated=self.emulated,
            endpoint=self.endpoint,
        )


def texts(count: int) -> list[str]:
    """Distinct texts."""
    return [f"message number {i}: where is my card?" for i in range(count)]
