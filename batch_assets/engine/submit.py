"""Send waiting shards: upload, durable intent, one create call, durable outcome."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

from batch_assets import tables
from batch_assets.admission import admit
from batch_assets.engine.harvest import close_without_results, failure
from batch_assets.engine.lease import hold_account
from batch_assets.engine.status import is_current
from batch_assets.errors import Ambiguous, Blocked, ProviderError, QueueFull, Refused
from batch_assets.fingerprint import custom_ids
from batch_assets.lifecycle import Event, State
from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batch_assets.engine.lease import Lease
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Envelope, Provider
    from batch_assets.records import Shard

CREATE_SECONDS = 300.0
"""Total time that a create call may take."""
INTENT_SECONDS = 600.0
"""How long an intent is left alone: longer than its create call can take."""
QUEUE_WAIT_SECONDS = 60.0
"""How long a shard waits after a full queue, if the provider does not say."""


def submit_waiting(ledger: Ledger, provider: Provider, *, log: Callable[[str], None] = lambda _: None) -> int:
    """Send what admission lets through, under the account's lease; returns the number of shards sent.

    0 if another process works for the account: it, or the next advance, sends them.
    """
    with hold_account(ledger, provider.account) as lease:
        if lease is None:
            log(f"{provider.account}: another run works for the account and will send what waits")
            return 0
        return send_admitted(ledger, provider, ledger.open_shards(provider.account), lease, log=log)


def send_admitted(
    ledger: Ledger, provider: Provider, shards: list[Shard], lease: Lease, *, log: Callable[[str], None]
) -> int:
    """Send the admitted ones of an account's open shards. Stops at the first sign that the account cannot go on."""
    waiting = [shard for shard in shards if is_due(ledger, shard)]
    sent = 0
    for shard in admit(waiting, shards, provider.queue):
        if not is_current(ledger, shard.spec.plan):
            ledger.advance(shard, Event.SUPERSEDE, reason="a newer plan of the partition has its requests")
            continue
        lease.renew()
        after = send(ledger, provider, shard, log=log)
        if after is None:
            continue
        if after.state is not State.SUBMITTED:
            log(f"shard {shard.spec.shard_id} is {after.state}: {after.last.reason}")
            if after.state is not State.REFUSED:
                break
        sent += after.state is State.SUBMITTED
    return sent


def is_due(ledger: Ledger, shard: Shard) -> bool:
    """Whether a shard waits to be sent and nothing asks it to wait longer."""
    if shard.state is not State.WAITING or shard.spec.waits_for_earlier:
        return False
    return shard.last.retry_after_seconds is None or ledger.age_seconds(shard.since) >= shard.last.retry_after_seconds


def send(ledger: Ledger, provider: Provider, shard: Shard, *, log: Callable[[str], None]) -> Shard | None:
    """Send one waiting shard. None if another process was first. Raises Transient if the upload failed.

    The intent is durable before the create call; whatever that call answers, or does not, is made durable after it.
    """
    plan = ledger.plan(shard.spec.plan)
    envelope = provider.envelope(plan.request)
    input_file = provider.upload(f"{shard.spec.shard_id}.jsonl", wire_lines(ledger, shard, envelope))
    intent = ledger.advance(
        shard,
        Event.INTEND,
        input_file=input_file,
        anchor=provider.newest(),
        lease_seconds=INTENT_SECONDS,
        attempt=shard.last.attempt + 1,
    )
    if intent is None:
        if input_file is not None:
            provider.delete_input(input_file)
        return None
    try:
        batch_id = within(
            CREATE_SECONDS,
            lambda: provider.create(
                stamp=ledger.stamp(shard.spec),
                request=plan.request,
                input_file=input_file,
                lines=lambda: wire_lines(ledger, shard, envelope),
                timeout_seconds=CREATE_SECONDS,
            ),
        )
    except ProviderError as error:
        return _not_accepted(ledger, provider, intent, error)
    return _accepted(ledger, provider, intent, batch_id, log=log)


def _accepted(
    ledger: Ledger, provider: Provider, intent: Shard, batch_id: str, *, log: Callable[[str], None]
) -> Shard | None:
    """Record the batch. A submitter so late that its shard was settled without it cancels its own batch."""
    spec = intent.spec
    log(f"shard {spec.shard_id}: {spec.requests:,} requests sent as {batch_id}")
    if ledger.claim_batch(spec, batch_id):
        accepted = ledger.advance(intent, Event.ACCEPT, batch_id=batch_id)
        if accepted is not None:
            return accepted
        if ledger.shard(spec.account, spec.shard_id).last.batch_id == batch_id:
            return None  # another process found it and recorded it
    log(f"shard {spec.shard_id}: settled by another process meanwhile; canceling {batch_id}")
    provider.cancel(batch_id)
    return None


def within(seconds: float, call: Callable[[], str]) -> str:
    """The result of a create call within a *total* time: an SDK's timeouts are per read, not in all.

    Raises Ambiguous when the time is over; whatever the call does after that is settled by looking.
    """
    answer: Future[str] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  # handed to the waiting thread as it is
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        if answer.done():
            raise
        raise Ambiguous(f"creating a batch took longer than {seconds:.0f} s") from error


def _not_accepted(ledger: Ledger, provider: Provider, intent: Shard, error: ProviderError) -> Shard | None:
    """Record why the create call gave no batch."""
    reason = str(error)
    if isinstance(error, Ambiguous):
        return ledger.advance(intent, Event.DOUBT, reason=reason)
    if intent.last.input_file is not None:
        provider.delete_input(intent.last.input_file)
    if isinstance(error, QueueFull):
        wait = error.retry_after_seconds or QUEUE_WAIT_SECONDS
        return ledger.advance(intent, Event.QUEUE_FULL, reason=reason, retry_after_seconds=wait, input_file=None)
    if isinstance(error, Blocked):
        return ledger.advance(intent, Event.BLOCK, reason=reason, input_file=None)
    if isinstance(error, Refused):
        refused = failure(Outcome.ERRORED, f"the provider refused the batch: {reason}", error.code or "refused")
        return close_without_results(ledger, intent, Event.REFUSE, refused)
    return ledger.advance(intent, Event.DOUBT, reason=f"unexpected: {reason}")


def wire_lines(ledger: Ledger, shard: Shard, envelope: Envelope) -> Iterator[bytes]:
    """The lines of a shard's input file, from its stored requests."""
    with tables.stored_batches(ledger.store, shard.spec.path, ["fingerprint", "content"]) as batches:
        for batch in batches:
            ids = custom_ids(shard.spec.shard_id, tables.fingerprint_rows(batch.column("fingerprint")))
            yield from envelope.lines(ids, batch.column("content").to_pylist())
