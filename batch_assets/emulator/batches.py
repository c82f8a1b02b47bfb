"""The life of a batch, the same for every provider: what it is, and what is due at a given time.

Nothing here does anything: `next_step` is a function of a batch and a time, and the worker acts on its answer.

    validating -> failed | running -> finalizing -> completed
    running -> expired | canceled        (partial results are kept)
    validating, running, finalizing -> canceling -> canceled

With a latency of L seconds a batch validates until 0.1 L, runs until 0.95 L, is finalizing until L; a cancel takes
0.05 L. Requests are executed evenly over the running time.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

VALIDATED_AT = 0.10
FINALIZING_AT = 0.95
CANCEL_TAKES = 0.05


class Phase(StrEnum):
    VALIDATING = "validating"
    RUNNING = "running"
    FINALIZING = "finalizing"
    CANCELING = "canceling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


OPEN = frozenset({Phase.VALIDATING, Phase.RUNNING, Phase.FINALIZING, Phase.CANCELING})


class Usage(msgspec.Struct):
    """Tokens; `input` includes `cached`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def add(self, other: "Usage") -> None:
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        self.reasoning += other.reasoning


class Problem(msgspec.Struct):
    """Why a batch failed at validation; `line` is 1-based, None for the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(msgspec.Struct):
    """A batch as the emulator keeps it; each wire renders it in its provider's words."""

    id: str
    provider: str
    account: str
    created_at: float
    latency_seconds: float
    window_seconds: float
    wire: dict[str, Any]  # what the provider's create call said and its answers repeat
    output_file_id: str
    error_file_id: str
    enqueued_tokens: int = 0  # a cheap estimate: bytes of the input / 4
    phase: Phase = Phase.VALIDATING
    model: str | None = None
    times: dict[str, float] = {}  # phase -> when it was entered
    total: int = 0
    executed: int = 0
    succeeded: int = 0
    errored: int = 0
    output_bytes: int = 0
    error_bytes: int = 0
    usage: Usage = msgspec.field(default_factory=Usage)
    problems: list[Problem] = []
    order_seed: str = ""  # the order of execution, and so of the result lines
    fate: str | None = None  # a batch fault, see faults.py
    fate_params: dict[str, Any] = {}
    hidden_until: float = 0.0  # not listed before
    hidden_lists: int = 0  # nor in this many listings

    @property
    def open(self) -> bool:
        return self.phase in OPEN

    @property
    def expires_at(self) -> float:
        return self.created_at + self.window_seconds

    def enter(self, phase: Phase, at: float) -> None:
        self.phase = phase
        self.times[phase] = at


@dataclass(frozen=True, slots=True)
class Wait:
    until: float


@dataclass(frozen=True, slots=True)
class Validate:
    at: float


@dataclass(frozen=True, slots=True)
class Execute:
    upto: int  # how many requests have been executed when this is done


@dataclass(frozen=True, slots=True)
class Enter:
    phase: Phase
    at: float


@dataclass(frozen=True, slots=True)
class Close:
    outcome: Phase
    at: float


Step = Wait | Validate | Execute | Enter | Close


def next_step(batch: Batch, now: float) -> Step:
    """What is due for `batch` at `now`. Raises ValueError for a batch that has ended."""
    started = batch.created_at
    latency = batch.latency_seconds
    if batch.phase is Phase.VALIDATING:
        due = started + VALIDATED_AT * latency
        return Validate(at=due) if now >= due else Wait(until=due)
    if batch.phase is Phase.CANCELING:
        due = batch.times[Phase.CANCELING] + CANCEL_TAKES * latency
        return Close(outcome=Phase.CANCELED, at=due) if now >= due else Wait(until=due)
    if batch.phase not in OPEN:
        raise ValueError(f"batch {batch.id} has ended: {batch.phase}")
    ends_at, outcome = _ending(batch)
    goal = _executed_at(batch, min(now, ends_at))
    if batch.executed < goal:
        return Execute(upto=goal)
    finalizing_at = started + FINALIZING_AT * latency
    if outcome is Phase.COMPLETED and batch.phase is Phase.RUNNING and now >= finalizing_at:
        return Enter(phase=Phase.FINALIZING, at=finalizing_at)
    if now >= ends_at:
        return Close(outcome=outcome, at=ends_at)
    return Wait(until=min(ends_at, now if now < finalizing_at else math.inf))


def _ending(batch: Batch) -> tuple[float, Phase]:
    """When the batch ends, and how."""
    done = batch.created_at + batch.latency_seconds
    if batch.fate in ("stuck", "vanished"):
        return math.inf, Phase.EXPIRED
    if batch.fate == "expired":
        return done, Phase.EXPIRED
    if batch.fate == "canceled":
        return done, Phase.CANCELED
    if done > batch.expires_at:
        return batch.expires_at, Phase.EXPIRED
    return done, Phase.COMPLETED


def _executed_at(batch: Batch, now: float) -> int:
    """How many requests have been executed at `now`."""
    share = 1.0
    if batch.latency_seconds > 0:
        running = (FINALIZING_AT - VALIDATED_AT) * batch.latency_seconds
        share = (now - batch.created_at - VALIDATED_AT * batch.latency_seconds) / running
    if batch.fate in ("stuck", "vanished", "expired", "canceled"):
        return round(batch.total * float(batch.fate_params["fraction"]) * min(1.0, max(0.0, share)))
    return int(batch.total * min(1.0, max(0.0, share)))
