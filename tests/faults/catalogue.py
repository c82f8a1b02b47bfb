"""The faults of the matrix, and the providers. Another provider is one more Subject."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nights_with_faults import REQUESTS, ROWS, SHARDS, Fault, Night, Subject

from batch_assets.emulator import SpawnedEmulator
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.emulator.client import Controls
    from batch_assets.providers.protocol import Provider

ONE_SHARD_ROWS = ROWS // SHARDS
ONE_SHARD = REQUESTS // SHARDS


def _openai(emulator: Controls) -> Provider:
    return OpenAIProvider(
        api_key="sk-faults",
        base_url=emulator.openai_base_url,
        listing_grace_seconds=0.3,
        timeout_seconds=10,
        max_retries=1,
    )


def _anthropic(emulator: Controls) -> Provider:
    return AnthropicProvider(
        api_key="sk-faults",
        base_url=emulator.anthropic_base_url,
        listing_grace_seconds=0.3,
        timeout_seconds=10,
        max_retries=1,
    )


def _mistral(emulator: Controls) -> Provider:
    return MistralProvider(
        api_key="sk-faults",
        server_url=emulator.mistral_server_url,
        listing_grace_seconds=0.3,
        timeout_seconds=10,
        max_retries=1,
    )


SUBJECTS = [
    Subject(name="openai", model="gpt-5-mini", connect=_openai),
    Subject(name="anthropic", model="claude-haiku-4-5", connect=_anthropic, files=False),
    Subject(name="mistral", model="mistral-small-2603", connect=_mistral),
]


def _arm(fault: str, **spec: Any) -> Callable[[Controls], object]:
    return lambda emulator: emulator.arm(fault, **spec)


def _create(fault: str, **spec: Any) -> Callable[[Controls], object]:
    return _arm(fault, operation="batches.create", **spec)


def _both(*arms: Callable[[Controls], object]) -> Callable[[Controls], object]:
    return lambda emulator: [arm(emulator) for arm in arms]


def _killed(night: Night) -> None:
    """The provider dies with batches in it, and comes back."""
    assert isinstance(night.emulator, SpawnedEmulator)
    night.emulator.kill()
    night.tick()  # nobody answers
    night.emulator.start()


def _beyond_the_window(night: Night) -> None:
    """A day and half an hour pass, then another hour."""
    night.tick()  # what has ended is fetched at once
    for hours in (24.5, 1.5):
        night.emulator.advance(hours * 3600)
        night.store.pass_time(hours=hours)
        night.tick()


def _late_create(night: Night) -> None:
    """The create call that seemed lost arrives while it is being settled."""
    night.tick()
    time.sleep(0.1)
    night.emulator.advance(600)


def _a_month_later(night: Night) -> None:
    night.store.pass_time(days=28)
    night.emulator.set_latency(0)


CREATE = [
    Fault(name="create accepted, connection dropped", arm=_create("accept_then_drop")),
    Fault(name="create accepted, all connections dropped", arm=_create("accept_then_drop", times=SHARDS)),
    Fault(name="create accepted, then 500", arm=_create("accept_then_error", status=500)),
    Fault(name="create accepted, then a proxy's 502", arm=_create("accept_then_proxy_error")),
    Fault(name="create accepted, no reply", arm=_create("accept_then_hang", seconds=5)),
    Fault(name="create not accepted, connection dropped", arm=_create("drop")),
    Fault(name="create not accepted, no reply", arm=_create("hang", seconds=5)),
    Fault(name="create not accepted, a proxy's 502", arm=_create("proxy_error")),
    Fault(name="create dropped, arrives late", arm=_create("drop_then_accept", seconds=600), during=_late_create),
    Fault(
        name="create accepted and dropped, list lags",
        arm=_both(_create("accept_then_drop"), _arm("list_lag", lists=3)),
    ),
]
REFUSED = [
    Fault(
        name="create refused: 400",
        arm=_create("400"),
        right=ROWS - ONE_SHARD_ROWS,
        billed=REQUESTS - ONE_SHARD,
        why="refused by the provider: the rows say so, and nothing is billed for them",
        told="refused the batch",
    ),
    Fault(name="create refused: 400, night repeated", arm=_create("400"), nights=2, told="refused the batch"),
    Fault(name="create refused: 401", arm=_create("401"), told="401"),
    Fault(name="create refused: 403", arm=_create("403"), told="403"),
    Fault(name="create refused: 404", arm=_create("404"), told="404"),
    Fault(name="create refused: 413", arm=_create("413"), told="413"),
    Fault(name="create refused: 429", arm=_create("429", times=2), told="429"),
    Fault(name="create refused: 429, retry-after", arm=_create("429", retry_after=1), told="429"),
    Fault(
        name="create refused: out of quota",
        arm=_create("429", code="insufficient_quota", times=2),
        told="nothing is sent",
        only=frozenset({"openai"}),
    ),
    *(Fault(name=f"create refused: {status}", arm=_create(str(status))) for status in (500, 503, 529)),
]
UPLOADS = [
    Fault(name="upload cut off", arm=_arm("upload_cut", operation="files.create", times=3), needs_files=True),
    Fault(name="upload refused: 500", arm=_arm("500", operation="files.create", times=3), needs_files=True),
    Fault(name="upload refused: 401", arm=_arm("401", operation="files.create"), needs_files=True, told="401"),
    Fault(name="upload refused: 413", arm=_arm("413", operation="files.create"), needs_files=True, told="413"),
]
LISTS = [
    Fault(name="list slow", arm=_arm("slow", operation="batches.list", seconds=0.5, times=3)),
    Fault(name="list failing", arm=_arm("500", operation="batches.list", times=6)),
    Fault(name="list refused: 401", arm=_arm("401", operation="batches.list", times=2), told="401"),
    Fault(name="list cut off", arm=_arm("drop", operation="batches.list", times=3)),
    Fault(name="list lagging", arm=_arm("list_lag", lists=4, times=SHARDS)),
    Fault(
        name="list failing while a create is settled",
        arm=_both(_create("accept_then_drop"), _arm("500", operation="batches.list", times=5, after=1)),
    ),
]
BATCHES = [
    Fault(
        name="status unknown",
        arm=_arm("unknown_status", operation="batches.list", status="hibernating", times=3),
        told="'hibernating'",
    ),
    Fault(name="failed at validation, no line named", arm=_arm("validation_failed")),
    Fault(
        name="failed at validation, one line named",
        arm=_arm("validation_failed", line=3, message="Line 3 is bad."),
        right=ROWS - 1,
        billed=REQUESTS - 1,
        why="the named request is refused for good; the others are sent again",
        told="Line 3 is bad.",
        only=frozenset({"openai"}),
    ),
    Fault(
        name="failed at validation, out of money",
        arm=_arm("validation_failed", code="billing_hard_limit_reached", message="Hard limit reached."),
        told="nothing is sent: Hard limit reached.",
        only=frozenset({"openai"}),
    ),
    Fault(name="queue full, told after accepting", arm=_arm("token_limit_exceeded", times=2)),
    Fault(
        name="queue full, told at the create call",
        arm=_create("429", code="token_limit_exceeded", times=3),
        told="429",
    ),
    Fault(
        name="stuck beyond its window",
        arm=_arm("stuck", fraction=0.5),
        during=_beyond_the_window,
        told="runs beyond its window of 24 h",
    ),
    Fault(name="expired, nothing finished", arm=_arm("expired", fraction=0)),
    Fault(name="expired, half finished", arm=_arm("expired", fraction=0.5)),
    Fault(name="expired, all of them, half finished", arm=_arm("expired", fraction=0.5, times=SHARDS)),
    Fault(
        name="canceled by somebody, half finished, night repeated",
        arm=_arm("canceled", fraction=0.5),
        nights=2,
        told="cancel",
    ),
    Fault(
        name="both result files missing",
        arm=_arm("no_result_files"),
        right=ROWS - ONE_SHARD_ROWS,
        why="executed, billed and lost by the provider: buying again is a person's decision",
        told="although the provider counts it as done",
    ),
    Fault(
        name="both result files gone",
        arm=_arm("result_files_gone"),
        right=ROWS - ONE_SHARD_ROWS,
        why="executed, billed and lost by the provider: buying again is a person's decision",
        told="although the provider counts it as done",
    ),
    Fault(
        name="batch not known any more, night repeated",
        arm=_arm("vanished"),
        nights=2,
        told="the provider no longer knows batch",
    ),
    Fault(name="batch not known any more, resubmit", arm=_arm("vanished"), on_ambiguous="resubmit"),
    Fault(
        name="fetched shortly before deletion",
        arm=lambda emulator: emulator.set_latency(0.5),
        during=_a_month_later,
        told="the provider deletes them in about 2.0 days",
        only=frozenset({"openai"}),
    ),
]
RESULTS = [
    Fault(name="results shuffled (as in every night)"),
    Fault(name="results duplicated", arm=_arm("duplicated_lines", count=4, times=SHARDS)),
    Fault(name="results dropped", arm=_arm("dropped_lines", count=4, times=SHARDS)),
    Fault(name="results foreign", arm=_arm("foreign_lines", count=4, times=SHARDS)),
    Fault(name="results garbled", arm=_arm("garbled_lines", count=4, times=SHARDS)),
    Fault(name="results truncated in a line", arm=_arm("truncated", fraction=0.6, times=SHARDS)),
    Fault(name="results empty", arm=_arm("empty", times=SHARDS)),
    Fault(name="connection cut in the download", arm=_arm("cut", after_bytes=900, times=SHARDS)),
    Fault(name="download failing: 500", arm=_arm("500", operation="files.content", times=5)),
]
FAULTS = [
    *CREATE,
    *REFUSED,
    *UPLOADS,
    *LISTS,
    *BATCHES,
    *RESULTS,
    Fault(name="provider killed and restarted", during=_killed, spawned=True),
]
LINES = [
    (subject, fault)
    for subject in SUBJECTS
    for fault in FAULTS
    if (not fault.only or subject.name in fault.only) and (subject.files or not fault.needs_files)
]
