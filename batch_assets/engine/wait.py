"""Wait for plans in this process: for a command line, a notebook, a test. The orchestrator's runs park instead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from batch_assets.engine.advance import advance_account
from batch_assets.engine.poll import poll_account
from batch_assets.engine.status import plan_status
from batch_assets.errors import Blocked, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef, PlanStatus


def wait_for(
    ledger: Ledger,
    provider: Provider,
    refs: Sequence[PlanRef],
    *,
    timeout_seconds: float | None = None,
    interval_seconds: float = 5.0,
    on_progress: Callable[[list[PlanStatus]], None] | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> list[PlanStatus]:
    """Poll and advance until every plan is settled, or the time is over; returns where they stand then.

    A call that fails is made again; `interval_seconds` grows to its full length from a tenth of it.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pause = interval_seconds / 10
    while True:
        try:
            if poll_account(ledger, provider).needs_advance:
                advance_account(ledger, provider, log=log)
        except (Transient, Blocked) as error:
            log(str(error))
        statuses = [plan_status(ledger, ref) for ref in refs]
        if on_progress is not None:
            on_progress(statuses)
        if all(status.settled for status in statuses):
            return statuses
        if deadline is not None and time.monotonic() + pause > deadline:
            return statuses
        time.sleep(pause)
        pause = min(interval_seconds, pause * 1.5)
