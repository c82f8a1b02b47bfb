"""The faults of the matrix."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nights_with_faults import REQUESTS, ROWS, SHARDS, Fault, Night
from subjects import CONCURRENCY, SUBJECTS

from batch_assets.emulator import SpawnedEmulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.emulator.client import Controls

ONE_SHARD_ROWS = ROWS // SHARDS
ONE_SHARD = REQUESTS // SHARDS


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
    """The window and half an hour pass, then another hour."""
    night.tick()  # what has ended is fetched at once
    window = int(night.provider.limits.completion_window.removesuffix("h"))
    for hours in (window + 0.5, 1.5):
        night.emulator.advance(hours * 3600)
        night.store.pass_time(hours=hours)
        night.tick()


def _late_create(night: Night) -> None:
    """The create call that seemed lost arrives while it is being settled."""
    night.tick()
    time.sleep(0.1)
    night.emulator.advance(600)


def _shortly_before_deletion(night: Night) -> None:
    """Nobody looks for nine tenths of the time for which the provider keeps results."""
    night.store.pass_time(days=0.9 * night.provider.limits.results_kept_days)
    night.emulator.set_latency(0)


def _killed_while_executing(night: Night) -> None:
    """A process that executes requests one by one is killed in the middle."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("realtime_process.py"), night.folder, night.emulator.url]
    )
    try:
        while night.emulator.bill().get("openai", {"requests": 0})["requests"] < REQUESTS // 2:
            assert process.poll() is None, "the process ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


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
    Fault(
        name="upload refused: 401",
        arm=_arm("401", operation="files.create"),
        needs_files=True,
        told="401|does not accept the credentials",
    ),
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
        told="runs beyond its window of [0-9]+ h",
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
        needs_result_files=True,
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
        during=_shortly_before_deletion,
        told="the provider deletes them in about",
        only=frozenset({"openai", "anthropic", "mistral", "gemini", "gateway"}),  # Vertex's are in the user's bucket
    ),
]
RESULTS = [
    Fault(name="results shuffled (as in every night)"),
    Fault(name="results duplicated", arm=_arm("duplicated_lines", count=4, times=SHARDS), needs_result_files=True),
    Fault(name="results dropped", arm=_arm("dropped_lines", count=4, times=SHARDS), needs_result_files=True),
    Fault(name="results foreign", arm=_arm("foreign_lines", count=4, times=SHARDS), needs_result_files=True),
    Fault(name="results garbled", arm=_arm("garbled_lines", count=4, times=SHARDS), needs_result_files=True),
    Fault(
        name="results truncated in a line", arm=_arm("truncated", fraction=0.6, times=SHARDS), needs_result_files=True
    ),
    Fault(name="results empty", arm=_arm("empty", times=SHARDS), needs_result_files=True),
    Fault(
        name="connection cut in the download", arm=_arm("cut", after_bytes=900, times=SHARDS), needs_result_files=True
    ),
    Fault(name="download failing: 500", arm=_arm("500", operation="files.content", times=5), needs_result_files=True),
]
_STORE = {"provider": "gcs"}
BUCKET = [
    Fault(name="none", of="bucket"),
    Fault(
        name="writes that land, replies lost",
        arm=_both(
            *(_arm("accept_then_drop", operation="files.create", after=after, **_STORE) for after in range(0, 40, 4))
        ),
        of="bucket",
    ),
    Fault(
        name="writes that land, then 503",
        arm=_both(
            *(
                _arm("accept_then_error", operation="files.create", status=503, after=after, **_STORE)
                for after in range(1, 40, 6)
            )
        ),
        of="bucket",
    ),
    *(
        Fault(
            name=f"store refuses: {status}",
            arm=_both(
                *(
                    _arm("refused", operation=operation, status=status, after=3, times=2, **_STORE)
                    for operation in ("files.create", "files.content", "files.list", "files.retrieve", "files.delete")
                )
            ),
            of="bucket",
        )
        for status in (429, 503)
    ),
    Fault(
        name="store's streams cut",
        arm=_both(
            _arm("cut", kind="any", after_bytes=200, after=2, times=6, **_STORE),
            _arm("drop", operation="files.create", after=5, times=2, **_STORE),
        ),
        of="bucket",
    ),
    Fault(
        name="store's replies slow",
        arm=_arm("slow", operation="files.list", seconds=0.2, times=6, **_STORE),
        of="bucket",
    ),
]
_CALL = {"operation": "realtime"}
REALTIME = [
    Fault(name="none", of="realtime"),
    Fault(
        name="killed while it executes",
        arm=_arm("slow", seconds=0.1, times=REQUESTS, **_CALL),
        during=_killed_while_executing,
        of="realtime",
        again=CONCURRENCY,
        why="a host without batches shows nothing that could be looked up: at most `concurrency` requests again",
    ),
    Fault(name="request refused: 429", arm=_arm("429", times=3, retry_after=1, **_CALL), of="realtime"),
    Fault(name="host busy: 503 to every request", arm=_arm("503", times=40, retry_after=1, **_CALL), of="realtime"),
    Fault(name="request refused: 500", arm=_arm("500", times=3, **_CALL), of="realtime"),
    Fault(name="request refused: 401", arm=_arm("401", times=3, **_CALL), of="realtime", told="401"),
    Fault(name="request not executed, connection dropped", arm=_arm("drop", times=3, **_CALL), of="realtime"),
    Fault(
        name="request executed, connection dropped",
        arm=_arm("accept_then_drop", times=2, **_CALL),
        of="realtime",
        again=2,
        why="a reply that is lost is paid for, and asked for again: the host offers no id to look for",
    ),
]
FAULTS = [
    *CREATE,
    *REFUSED,
    *UPLOADS,
    *LISTS,
    *BATCHES,
    *RESULTS,
    *BUCKET,
    *REALTIME,
    Fault(name="provider killed and restarted", during=_killed, spawned=True),
]
LINES = [
    (subject, fault)
    for subject in SUBJECTS
    for fault in FAULTS
    if fault.of == subject.faults
    and (not fault.only or subject.name in fault.only)
    and (subject.files or not fault.needs_files)
    and (subject.result_files or not fault.needs_result_files)
]
