"""What becomes of a shard that got no batch: put off, refused, lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from batch_assets import tables
from batch_assets.engine.results import ResultWriter
from batch_assets.engine.retry import cut_child, may_retry, open_child
from batch_assets.errors import Blocked, NotFound, Transient
from batch_assets.lifecycle import Event
from batch_assets.providers.protocol import ResultLine
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.errors import Refused
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import Shard


def put_off(
    ledger: Ledger,
    shard: Shard,
    event: Event,
    reason: str | None,
    *,
    wait_seconds: float | None = None,
    whole_account: bool = False,
) -> Shard | None:
    """The shard waits: for the provider's queue (as long as it says, if it does), or for a person.

    `event` is QUEUE_FULL, REQUEUE or BLOCK. No attempt is counted; without word from the provider each wait is twice
    the last.
    """
    setbacks = shard.last.setbacks + 1
    first = ledger.timing.blocked_seconds if event is Event.BLOCK else ledger.timing.queue_wait_seconds
    return ledger.advance(
        shard,
        event,
        reason=reason,
        retry_after_seconds=ledger.timing.wait_seconds(first, setbacks) if wait_seconds is None else wait_seconds,
        setbacks=setbacks,
        whole_account=whole_account,
        batch_id=None,
        input_file=None,
        input_deleted=False,
        resend=False,
    )


def refuse(ledger: Ledger, shard: Shard, error: Refused) -> Shard | None:
    """End a shard that the provider definitely refused. Nothing was sent, and nothing is billed.

    Where the refusal is not about the requests they get another round: with their file uploaded anew (404), or in
    halves (413). A later generation tries the requests of any refused shard again.
    """
    text = f"the provider refused the batch: {error}"
    failed = failure(Outcome.ERRORED, text, error.code or "refused", curable=True)
    cuts = {404: 1, 413: 2}.get(error.status or 0, 0)
    return close_without_results(ledger, shard, Event.REFUSE, failed, cuts=cuts)


def lose(ledger: Ledger, shard: Shard) -> Shard | None:
    """End a shard whose batch the provider does not know any more: what it did and billed is not known either.

    Its requests are sent again in this generation only where `on_ambiguous` is `resubmit`.
    """
    text = f"the provider no longer knows batch {shard.last.batch_id}; whether it was paid for is not known"
    failed = failure(Outcome.MISSING, text, "lost", curable=True)
    again = ledger.plan(shard.spec.plan).on_ambiguous == "resubmit"
    return close_without_results(ledger, shard, Event.VANISH, failed, cuts=int(again))


def close_without_results(
    ledger: Ledger, shard: Shard, event: Event, failed: ResultLine, *, cuts: int = 0
) -> Shard | None:
    """End a shard whose requests have one and the same failure. They are cut into so many child shards, or none."""
    plan = ledger.plan(shard.spec.plan)
    with (
        tables.stored_batches(ledger.store, shard.spec.path, ["request", "fingerprint"]) as requests,
        ResultWriter(ledger, plan, shard, None) as results,
    ):
        for rows in requests:
            results.write(rows, [failed] * rows.num_rows)
    summary = results.summary()
    children: list[str] = []
    if cuts == 1:
        child = cut_child(ledger, plan, shard, results.curable, summary=summary, results=results.path)
        children = [child] if child else []
    elif cuts > 1 and shard.spec.requests > 1 and may_retry(ledger, plan, shard):
        for part, places in enumerate(np.array_split(np.arange(shard.spec.requests), cuts)):
            wanted = np.zeros(shard.spec.requests, dtype=bool)
            wanted[places] = True
            next_round = shard.spec.round + 1
            children.append(open_child(ledger, shard, wanted, results.path, next_round=next_round, part=part))
    return ledger.advance(
        shard, event, results=results.path, summary=summary, reason=failed.error, children=tuple(children)
    )


def failure(outcome: Outcome, error: str, kind: str, *, curable: bool = False) -> ResultLine:
    """The result of a request that was not answered."""
    return ResultLine(custom_id="", outcome=outcome, error=error, error_kind=kind, curable=curable)


def delete_input(provider: Provider, input_file: str | None, log: Callable[[str], None]) -> None:
    """Delete an uploaded file that is no longer needed. Where that fails now, `gc` does it later."""
    if input_file is None:
        return
    try:
        provider.delete_input(input_file)
    except (Transient, Blocked, NotFound) as error:
        log(str(error))
