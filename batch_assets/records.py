"""The records that pass between the modules and that the store keeps. Frozen, keyword-only, no behaviour but names.

What is stored is read for years: a field may be added with a default, never renamed, never given another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from batch_assets.lifecycle import State

FORMAT = 1
"""Version of the store's format; every stored object bears it. A reader refuses a newer one by name."""


class Outcome(StrEnum):
    """What became of one request."""

    SUCCEEDED = "succeeded"
    """A response that fits the output type."""
    INVALID = "invalid"
    """A response that does not fit the output type; its text is kept in `batch_raw`."""
    ERRORED = "errored"
    """The provider, or our own rendering, refused the request; the reason is in `batch_error`."""
    EXPIRED = "expired"
    """The completion window passed before it was executed."""
    CANCELED = "canceled"
    """It was canceled before it was executed."""
    MISSING = "missing"
    """The provider ended the batch and gave no result for it, in two equal downloads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all requests of a plan share: the constant part, serialised once."""

    model: str
    endpoint: Literal["chat", "responses", "embeddings"] = "chat"
    system: str | None = None
    """Text before every row's content, the same for all."""
    json_schema: dict[str, Any] | None = None
    """The output type in its strict form; None for plain text."""
    schema_name: str = "response"
    max_output_tokens: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    """Passed to the provider as they are: temperature, seed, reasoning_effort, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A provider's hard bounds for one batch, in requests and in bytes of the input file."""

    max_requests: int
    max_bytes: int
    max_request_bytes: int
    """Of one line; a row above it becomes an `errored` row."""
    completion_window: str = "24h"
    results_kept_days: int = 30
    """How long the provider keeps results after the batch was created."""
    input_files: bool = True
    """False: requests go inline with the create call."""
    stamped: bool = True
    """False: a batch carries nothing of ours that a listing shows."""
    realtime: bool = False
    """True: there is no batch API; requests are executed one by one, at standard price."""


# ---------------------------------------------------------------- plans


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRef:
    """One generation of one partition of one asset."""

    asset: str
    """The asset key, its parts joined by `/`."""
    partition: str | None
    generation: int
    """Counts from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """A durable slice of a plan that is sent as one batch. Its requests are a stored Parquet file."""

    shard_id: str
    """10 characters of base32; unique in the store; the first part of each custom_id."""
    plan: PlanRef
    account: str
    provider: str
    """Key of the provider's resource."""
    round: int
    """0 for the first attempt of its requests."""
    requests: int
    bytes: int
    """Of the input file, as the provider counts them."""
    estimated_tokens: int
    path: str
    """The stored requests: columns `request` (int64, index in the plan), `fingerprint` (32 bytes), `content`."""
    parent: str | None = None
    waits_for_earlier: bool = False
    """Open batches of earlier generations hold these requests: their results are taken first, the rest is cut again."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRecord:
    """What a plan was expected to cost, before anything was sent. USD; None where no rate is known."""

    input_tokens: int
    output_tokens: int
    """Expected where known from earlier nights, else the bound."""
    usd: Decimal | None
    standard_usd: Decimal | None
    max_usd: Decimal | None
    """A hard bound, requests that earlier batches hold included; None without max_output_tokens."""
    rate_source: str
    calibrated: bool = False
    """By an earlier night of the same definition: what it is off by then is news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the first night of a definition has taught about its estimates."""

    input_factor: float
    """Input tokens that the provider counted / those estimated."""
    output_tokens: float
    """Of a response, on average."""
    requests: int
    """Answered ones that it is taken from."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """The immutable output of the planner for one partition. Self-contained with the files that it names.

    The highest generation is the partition's current plan.
    """

    ref: PlanRef
    plan_id: str
    """Hash of what determines the requests: ordered row keys and fingerprints."""
    snapshot_id: str
    """Hash of every source column that goes to the output."""
    code_version: str
    draft: str
    """Random name of the folder with the plan's files."""
    provider: str
    account: str
    vendor: str
    request: Request
    row_key: str
    rows: int
    requests: int
    """Distinct requests; rows that share one are folded."""
    unrenderable: int
    """Rows that have no request, with the reason in the snapshot."""
    reused: int
    """Requests whose result was copied in from an earlier generation."""
    shards: tuple[ShardSpec, ...]
    output_schema: dict[str, Any]
    """OutputSchema.to_json()."""
    estimate: EstimateRecord
    max_attempts: int
    max_cost_usd: Decimal | None
    refused: str | None
    """Why nothing of it is sent: over budget. The plan is settled, as a failure."""
    created_at: datetime
    """The writer's clock; for people, never compared."""
    writer: str
    pricing: dict[str, dict[str, float]] = field(default_factory=dict)
    """The user's own rates, if any."""
    assumed_batch_discount: Decimal | None = None
    """Applied to the standard rate where no batch rate is published; the cost then says `assumed`."""
    on_change: Literal["finish", "cancel"] = "finish"
    on_ambiguous: Literal["hold", "resubmit", "fail"] = "hold"
    refresh: bool = False
    """Every request was to be bought anew."""
    realtime: bool = False
    """Its requests are executed one by one, at standard price."""
    prompt_fingerprint: str = ""
    """Hash of the prompt and the system text."""
    prompt_columns: tuple[str, ...] = ()
    """The source columns that the prompt uses; all of them where it is a function."""
    reused_failures: int | None = None
    """Of the reused requests those that did not succeed; None where it was not counted."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Who waits for plans: a parked run of the orchestrator, and what it would have done next."""

    wait_id: str
    run_id: str
    backfill_id: str | None
    asset: str
    plans: tuple[PlanRef, ...]
    downstream: tuple[str, ...] = ()
    """Asset keys that the run had planned below the asset."""
    provenance: dict[str, str] = field(default_factory=dict)
    """What the run read, as the orchestrator's tags: the sources may have changed when the table lands."""
    format: int = FORMAT


# ---------------------------------------------------------------- shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One entry of a shard's journal: `{number:04}.{state}`. Fields are set where the state has them."""

    number: int
    state: State
    writer: str
    at: datetime
    """The writer's clock; for people, never compared."""
    reason: str | None = None
    """For people: why it waits, is blocked, was refused."""
    attempt: int = 0
    """How often the shard has been sent, this time included."""
    lease_seconds: float | None = None
    """submitting: how long the create call may take at most."""
    input_file: str | None = None
    """submitting and after: the uploaded input file."""
    anchor: str | None = None
    """submitting: the newest batch that the account listed just before."""
    batch_id: str | None = None
    """submitted and after."""
    retry_after_seconds: float | None = None
    """waiting: what the provider asked for."""
    children: tuple[str, ...] = ()
    """Terminal states: the shards that try its requests again."""
    results: str | None = None
    """harvested, refused, lost: the stored results."""
    summary: ResultSummary | None = None
    """harvested, refused, lost."""
    batch_times: tuple[datetime, datetime] | None = None
    """harvested: when the batch was created and when it ended, by the provider's clock."""
    absences: int = 0
    """ambiguous: complete listings so far without a batch of the shard; submitted: answers that it is not known."""
    input_deleted: bool = False
    """ambiguous and after: the input file is deleted to settle it; a batch that was created may fail for that."""
    entered: int = 0
    """Number of the entry by which the shard came to its state: those after it only note something."""
    sent: int = 0
    """Number of the entry that recorded the batch; 0 while there is none."""
    setbacks: int = 0
    """How often it was put off by a full queue or a block."""
    whole_account: bool = False
    """blocked: nothing else of the account can be sent either."""
    resend: bool = False
    """canceling and after: the requests that the cancel leaves unexecuted are wanted, and sent again."""
    kept_seconds: float | None = None
    """submitted and after: how long the provider keeps results."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSummary:
    """What one harvested batch holds. Tokens and USD are of every attempt, invalid ones included."""

    outcomes: dict[str, int]
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_pico_usd: int | None = None
    """1e-12 USD; None where no rate is known."""
    standard_pico_usd: int | None = None
    rate_source: str = "unknown"
    duplicate_lines: int = 0
    foreign_lines: int = 0
    garbled_lines: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Requests by kind of error, at most 20 kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard and its newest transition."""

    spec: ShardSpec
    last: Transition
    since: datetime | None = None
    """When the newest transition was written, by the store's clock; None just after writing it."""
    entered_at: datetime | None = None
    """When it came to its state, by the store's clock."""
    sent_at: datetime | None = None
    """When its batch was recorded, by the store's clock."""

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.last.state


# ---------------------------------------------------------------- what a provider says


class BatchPhase(StrEnum):
    """A provider's many statuses, as far as they matter here."""

    RUNNING = "running"
    CANCELING = "canceling"
    ENDED = "ended"
    """Runs no more: completed, expired, canceled or failed; what it finished can be fetched."""
    UNKNOWN = "unknown"
    """The provider says something that the adapter does not know: told to a person with its raw text."""


class Ending(StrEnum):
    """How a batch ended: what a request without a result line means."""

    COMPLETED = "completed"
    FAILED = "failed"
    """Nothing was executed."""
    EXPIRED = "expired"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInfo:
    """A provider's batch, as a listing shows it."""

    batch_id: str
    phase: BatchPhase
    raw_status: str
    created_at: datetime
    """The provider's clock."""
    stamp: str | None
    """Ours, where the batch bears it."""
    input_file: str | None = None
    result_files: tuple[str, ...] = ()
    total: int | None = None
    """Requests, as the provider counts them; None while it does not say."""
    completed: int | None = None
    failed: int | None = None
    ending: Ending | None = None
    """None while it runs, and where every request of an ended batch has a line of its own."""
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    error_code: str | None = None
    """Why the whole batch failed."""
    error_message: str | None = None
    error_lines: tuple[int, ...] = ()
    """Lines of the input file that the provider named as the reason, counted from 1."""
    queue_full: bool = False
    """It failed unexecuted because the queue was full: it is sent again later, and no attempt is counted."""
    blocked: bool = False
    """It failed unexecuted because the account cannot submit, out of money say."""
    due: bool = False
    """It goes on only when a `Driven` provider is told to, which may be now."""
    note: str | None = None
    """What a person should know while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """An uploaded input file, as a provider lists it."""

    file_id: str
    name: str
    """As it was uploaded: `{shard}.jsonl`."""


# ---------------------------------------------------------------- what the engine reports


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStatus:
    """Where one plan stands, read from the store alone."""

    ref: PlanRef
    plan_id: str
    settled: bool
    """Nothing of it will change any more: the table can be landed, or `refused` says why there is none."""
    refused: str | None
    requests: int
    results: int
    """Requests with a final result."""
    states: dict[str, int]
    """Shards by state."""
    batch_ids: tuple[str, ...]
    reasons: tuple[str, ...]
    """What a person should know: blocks, holds."""
    rows: int
    failed_rows: int
    """At most so many do not succeed, going by the results so far; exact where no rows share a request."""
    invalid_rows: int
    """At most so many have a response that does not fit."""
    cost_usd: Decimal | None
    """So far; None where a rate is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What the landing of one partition's table says: figures for metadata. USD are Decimal; None: no rate known."""

    ref: PlanRef
    plan_id: str
    code_version: str
    """Of the definition that was planned: it may have changed since."""
    output_schema: dict[str, Any]
    """The plan's: OutputSchema.to_json()."""
    prompt_fingerprint: str
    prompt_columns: tuple[str, ...]
    """The source columns that the prompt uses."""
    data_version: str
    """Hash of the source's and the output's columns, the outcomes and the raw texts: equal for equal tables.

    Not of costs, ids and error texts, which another purchase of the same answers changes."""
    path: str
    """Where the table is, as a person or another program finds it."""
    planned_rows: int
    """Rows of the plan: of the source as it was then."""
    rows: int
    """Rows of the table."""
    outcomes: dict[str, int]
    """Rows by outcome."""
    requests: int
    reused: int
    """Requests whose result was copied from an earlier generation: cache hits."""
    folded: int
    """Rows that share another row's request."""
    attempts: int
    """Requests sent, all rounds of this generation together."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    """Of every attempt of this generation."""
    standard_usd: Decimal | None
    """The same tokens at standard price."""
    saved_usd: Decimal | None
    rate_source: str
    estimate: EstimateRecord
    turnaround_seconds: float | None
    """From the first batch's creation to the last one's end, by the provider's clock."""
    batch_ids: tuple[str, ...]
    errors: dict[str, int]
    """Rows by kind of error."""
    examples: dict[str, str]
    """Row key of the first row by kind of error."""
    columns: tuple[tuple[str, str, str], ...]
    """Name, Arrow type, description of each column of the table."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProgress:
    """How far a provider is with the open shards of one plan. Times are of the provider's clock."""

    ref: PlanRef
    open_requests: int
    finished_requests: int
    """Of them, as the provider counts."""
    batch_ids: tuple[str, ...]
    since: datetime | None
    """When the first of the batches was created."""
    expected_by: datetime | None
    """When the window of the last one ends; None while some are not sent."""
    reason: str | None
    """Why some cannot be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPoll:
    """What a tick learned of one account."""

    provider: str
    account: str
    open: int
    ended: int
    waiting: int
    needs_advance: bool
    """There is something to harvest, retry, admit or settle."""
    summary: str
    """One line for the tick log."""
    progress: tuple[PlanProgress, ...] = ()
    """Of each plan with open shards."""
