"""Give up plans: what waits is not sent, what runs is asked to stop, what had finished is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.engine.status import generation_status, shards_of
from batch_assets.errors import NotFound
from batch_assets.lifecycle import Event, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanRef, Shard, Wait


def cancel_plan(ledger: Ledger, provider: Provider, ref: PlanRef) -> None:
    """Cancel the plan of one generation, whoever waits for it. Done again, it changes nothing.

    The mark is durable first, and every advance acts on it: a shard that is being sent or settled just now is canceled
    once that is over. The next advance harvests what had finished. Raises Transient or Blocked if the provider cannot
    be asked.
    """
    if generation_status(ledger, ref).settled:
        return
    plan = ledger.plan(ref)
    ledger.mark_canceled(ref, plan.account)
    for shard in shards_of(ledger, plan):
        if shard is not None:
            cancel_shard(ledger, provider, shard)


def cancel_shard(ledger: Ledger, provider: Provider, shard: Shard) -> None:
    """Cancel one shard of a canceled plan, as far as its state lets it be canceled now."""
    if shard.state in {State.WAITING, State.BLOCKED}:
        ledger.advance(shard, Event.CANCEL, reason="canceled before it was sent")
    elif shard.state is State.SUBMITTED:
        if ledger.advance(shard, Event.CANCEL, reason="canceled") is not None:
            cancel_batch(provider, shard.last.batch_id)
    elif shard.state is State.CANCELING:
        cancel_batch(provider, shard.last.batch_id)


def give_up(ledger: Ledger, provider: Provider, wait: Wait) -> list[PlanRef]:
    """End a wait, and cancel those of its plans that nobody else waits for; returns these.

    Of two that give up at one time, one may see the other still waiting, but not both: each looks again at the end.
    """
    refs = [ref for ref in wait.plans if ref.generation > 0]
    canceled = []
    for ended in (False, True):
        if ended:
            ledger.end_wait(wait.wait_id)
        wanted = {ref for other in ledger.waits() if other.wait_id != wait.wait_id for ref in other.plans}
        for ref in refs:
            if ref in wanted or ref in canceled:
                continue
            plan = ledger.plan(ref)
            if plan.account == provider.account:
                cancel_plan(ledger, provider, ref)
                canceled.append(ref)
    return canceled


def cancel_surplus(ledger: Ledger, provider: Provider, batch_id: str, *, log: Callable[[str], None]) -> None:
    """Cancel a batch that its shard does not need. Recorded first: its unexecuted requests are not unwanted."""
    log(f"canceling {batch_id}: its shard has another batch")
    ledger.mark_surplus(provider.account, batch_id)
    cancel_batch(provider, batch_id)


def cancel_batch(provider: Provider, batch_id: str | None) -> None:
    """Ask for the cancellation of a batch; one that the provider does not know is left to the next advance."""
    if batch_id is None:
        return
    try:
        provider.cancel(batch_id)
    except NotFound:
        return
