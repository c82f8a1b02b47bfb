"""Send waiting shards: upload, durable intent, one create call, durable outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from batch_assets import tables
from batch_assets.admission import admit
from batch_assets.deadline import DeadlineExceeded, within
from batch_assets.engine.cancel import cancel_surplus
from batch_assets.engine.lease import hold_account
from batch_assets.engine.reconcile import is_held
from batch_assets.engine.setbacks import delete_input, put_off, refuse
from batch_assets.engine.status import is_current
from batch_assets.errors import Ambiguous, Blocked, CorruptObject, ProviderError, QueueFull, Refused, Terminal
from batch_assets.fingerprint import custom_ids
from batch_assets.lifecycle import TERMINAL, Event, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batch_assets.engine.lease import Lease
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Envelope, Provider
    from batch_assets.records import Shard

_DAY_SECONDS = 86_400.0


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
    ledger: Ledger,
    provider: Provider,
    shards: list[Shard],
    lease: Lease,
    *,
    left: int = 0,
    log: Callable[[str], None],
) -> int:
    """Send the admitted ones of an account's open shards. Stops at the first sign that the account cannot go on."""
    sent = 0
    for shard in sendable(ledger, provider, shards, left=left):
        if unwanted(ledger, shard) is not None:
            continue  # the next advance closes it
        lease.renew()
        try:
            after = send(ledger, provider, shard, lease, log=log)
        except CorruptObject as error:  # its own files, say: the others go on
            after = put_off(ledger, shard, Event.BLOCK, str(error))
        if after is None:
            continue
        if after.state is State.SUBMITTED:
            sent += 1
            continue
        log(f"shard {shard.spec.shard_id} is {after.state}: {after.last.reason}")
        if after.state is not State.REFUSED and not (after.state is State.BLOCKED and not after.last.whole_account):
            break
    return sent


def sendable(ledger: Ledger, provider: Provider, shards: list[Shard], *, left: int = 0) -> list[Shard]:
    """Of an account's open shards those that may be sent now, in their order; `left`: batches that ended just now."""
    if account_block(shards) is not None:
        return []
    due = [shard for shard in shards if is_due(ledger, shard)]
    due = those_with_room(ledger, due, shards, left)
    if not provider.limits.stamped:
        due = can_be_told_apart(due, shards)
    return admit(due, shards, provider.queue)


def those_with_room(ledger: Ledger, due: list[Shard], shards: list[Shard], left: int) -> list[Shard]:
    """Of the due shards those that may find a place where the provider's queue for their model was full.

    As many as have left it; and one more that asks anew, once the wait of those that were refused is over. So not each
    of them is uploaded to hear the same.
    """
    refused = [shard for shard in shards if shard.state is State.WAITING and shard.last.setbacks]
    if not due or not refused:
        return due
    models = {ref: ledger.plan(ref).request.model for ref in {shard.spec.plan for shard in [*due, *refused]}}
    waiting = {models[shard.spec.plan] for shard in refused if is_put_off(ledger, shard)}
    room = {model: left + (model not in waiting) for model in {models[shard.spec.plan] for shard in refused}}
    admitted = []
    for shard in due:
        model = models[shard.spec.plan]
        if room.get(model, 1) > 0:
            admitted.append(shard)
        if model in room:
            room[model] -= 1
    return admitted


def can_be_told_apart(due: list[Shard], shards: list[Shard]) -> list[Shard]:
    """Of the due shards those whose batch could be found where batches bear no stamp, if its create call were lost.

    None while another create call may be under way or has not been looked for; and none with as many requests as a
    shard on hold: their number is what candidates are found by.
    """
    unsettled = [shard for shard in shards if shard.state in {State.SUBMITTING, State.AMBIGUOUS}]
    if not all(is_held(shard) for shard in unsettled):
        return []
    held = {shard.spec.requests for shard in unsettled}
    return [shard for shard in due if shard.spec.requests not in held]


def account_block(shards: list[Shard]) -> Shard | None:
    """The shard whose block says that nothing of the account can be sent now; None if there is none."""
    return next((shard for shard in shards if shard.state is State.BLOCKED and shard.last.whole_account), None)


def unwanted(ledger: Ledger, shard: Shard) -> tuple[Event, str] | None:
    """What becomes of a shard that was not sent and need not be: the event, and the reason. None if it is wanted."""
    spec = shard.spec
    if spec.parent is not None:
        parent = ledger.find_shard(spec.account, spec.parent)
        if parent is not None and parent.state in TERMINAL and spec.shard_id not in parent.last.children:
            return Event.SUPERSEDE, "its parent was harvested by another process"
    if ledger.is_canceled(spec.plan):
        return Event.CANCEL, "canceled before it was sent"
    if not is_current(ledger, spec.plan):
        return Event.SUPERSEDE, "a newer plan of the partition has its requests"
    return None


def is_due(ledger: Ledger, shard: Shard) -> bool:
    """Whether a shard waits to be sent and nothing asks it to wait longer.

    A child counts once its parent names it: until then another harvest of the parent may cut it differently.
    """
    if shard.state is not State.WAITING or shard.spec.waits_for_earlier or is_put_off(ledger, shard):
        return False
    if shard.spec.parent is None:
        return True
    parent = ledger.find_shard(shard.spec.account, shard.spec.parent)
    return parent is not None and shard.spec.shard_id in parent.last.children


def is_put_off(ledger: Ledger, shard: Shard) -> bool:
    """Whether a shard waits because the provider's queue was full, and the time to ask again has not come."""
    wait = shard.last.retry_after_seconds
    return shard.state is State.WAITING and wait is not None and ledger.age_seconds(shard.since) < wait


def send(ledger: Ledger, provider: Provider, shard: Shard, lease: Lease, *, log: Callable[[str], None]) -> Shard | None:
    """Send one waiting shard. None if another process was first. Raises Transient if the upload failed.

    The intent is durable before the create call; whatever that call answers, or does not, is made durable after it.
    """
    timing = ledger.timing
    plan = ledger.plan(shard.spec.plan)
    envelope = provider.envelope(plan.request)
    try:
        input_file = provider.upload(f"{shard.spec.shard_id}.jsonl", wire_lines(ledger, shard, envelope))
    except Refused as error:
        return refuse(ledger, shard, error)
    except Terminal as error:
        return put_off(ledger, shard, Event.BLOCK, str(error), whole_account=True)
    try:
        anchor = provider.newest()
    except ProviderError as error:
        delete_input(provider, input_file, log)
        if not isinstance(error, Terminal):
            raise
        return put_off(ledger, shard, Event.BLOCK, str(error), whole_account=True)
    lease.renew()  # the upload may have taken long
    begun = time.monotonic()
    intent = ledger.advance(
        shard,
        Event.INTEND,
        input_file=input_file,
        input_deleted=False,
        anchor=anchor,
        lease_seconds=timing.intent_seconds,
        attempt=shard.last.attempt + 1,
    )
    if intent is None:
        delete_input(provider, input_file, log)
        return None

    def create() -> str:
        if time.monotonic() - begun > timing.intent_seconds - timing.create_seconds:
            raise _TooLate("this process slept, and its intent may not outlast the create call")
        return provider.create(
            stamp=ledger.stamp(shard.spec),
            request=plan.request,
            input_file=input_file,
            lines=lambda: wire_lines(ledger, shard, envelope),
            timeout_seconds=timing.create_seconds,
        )

    try:
        batch_id = _in_time(timing.create_seconds, create)
    except ProviderError as error:
        after = _not_accepted(ledger, intent, error)
        if not isinstance(error, Ambiguous):
            delete_input(provider, input_file, log)
        return after
    return _accepted(ledger, provider, intent, batch_id, log=log)


def _in_time(seconds: float, create: Callable[[], str]) -> str:
    """The batch's id. Raises Ambiguous when the time is over: what the call does after that is settled by looking."""
    try:
        return within(seconds, create)
    except DeadlineExceeded as late:
        raise Ambiguous(f"creating a batch {late}") from late


class _TooLate(ProviderError):
    """The create call was not made: too little of the intent's time was left."""


def _accepted(
    ledger: Ledger, provider: Provider, intent: Shard, batch_id: str, *, log: Callable[[str], None]
) -> Shard | None:
    """Record the batch, however late: a shard that another process doubted meanwhile takes it all the same.

    Where that process has sent the shard again, this batch is canceled: it is one too many.
    """
    spec = intent.spec
    log(f"shard {spec.shard_id}: {spec.requests:,} requests sent as {batch_id}")
    kept = provider.limits.results_kept_days * _DAY_SECONDS
    if not ledger.claim_batch(spec, batch_id):
        cancel_surplus(ledger, provider, batch_id, log=log)
        return None
    accepted = ledger.advance(intent, Event.ACCEPT, batch_id=batch_id, kept_seconds=kept)
    while accepted is None:
        now = ledger.shard(spec.account, spec.shard_id)
        if now.last.batch_id == batch_id:
            return None  # another process found it and recorded it
        if now.state not in {State.AMBIGUOUS, State.WAITING}:
            cancel_surplus(ledger, provider, batch_id, log=log)
            return None
        accepted = ledger.advance(now, Event.FIND, batch_id=batch_id, kept_seconds=kept)
    return accepted


def _not_accepted(ledger: Ledger, shard: Shard, error: ProviderError) -> Shard | None:
    """Record why the create call gave no batch."""
    reason = str(error)
    if isinstance(error, _TooLate):
        return ledger.advance(shard, Event.ABORT, reason=reason, input_file=None)
    if isinstance(error, QueueFull):
        wait = error.retry_after_seconds
        return put_off(ledger, shard, Event.QUEUE_FULL, reason, wait_seconds=wait)
    if isinstance(error, Blocked):
        return put_off(ledger, shard, Event.BLOCK, reason, whole_account=error.whole_account)
    if isinstance(error, Refused):
        return refuse(ledger, shard, error)
    return ledger.advance(shard, Event.DOUBT, reason=reason)


def wire_lines(ledger: Ledger, shard: Shard, envelope: Envelope) -> Iterator[bytes]:
    """The lines of a shard's input file, from its stored requests."""
    with tables.stored_requests(ledger.store, shard.spec.path, ["fingerprint", "content"]) as batches:
        for batch in batches:
            ids = custom_ids(shard.spec.shard_id, tables.fingerprint_rows(batch.column("fingerprint")))
            yield from envelope.lines(ids, batch.column("content").to_pylist())
