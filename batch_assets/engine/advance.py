"""The work for one account: open what a planner left, settle, end, harvest, cut again, admit, submit. Under a lease."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from batch_assets.engine.cancel import cancel_batch, cancel_shard
from batch_assets.engine.harvest import Harvest
from batch_assets.engine.inherit import inherit, may_inherit
from batch_assets.engine.lease import hold_account
from batch_assets.engine.opening import open_plan
from batch_assets.engine.orphans import orphans, settle_orphan
from batch_assets.engine.poll import RUNNING, find_batches, may_be_lost, unblocks
from batch_assets.engine.reconcile import reconcile
from batch_assets.engine.setbacks import lose
from batch_assets.engine.status import generation_status
from batch_assets.engine.submit import send_admitted, unwanted
from batch_assets.engine.watch import is_overdue, remark
from batch_assets.errors import BatchAssetsError, Blocked
from batch_assets.lifecycle import Event, State
from batch_assets.providers.protocol import Driven
from batch_assets.records import BatchPhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.engine.lease import Lease
    from batch_assets.engine.poll import Listing
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, PlanRef, Shard

_FIRST_PAGE = 100
"""So many batches are looked at at least, for those that bear our stamp and that no shard has."""
_ALL = 1 << 62
_DRIVE_SECONDS = 600.0
"""How long an advance lets a provider execute requests; what is left is due at the next one."""


def advance_account(
    ledger: Ledger, provider: Provider, *, whole_list: bool = False, log: Callable[[str], None] = lambda _: None
) -> str:
    """Bring every open shard of the account as far as it goes now; returns a line that says what was done.

    A shard that fails does not stop the others; the first error is raised when the others are done. With `whole_list`
    the provider's list is read to its end, in search of batches that no shard has.
    """
    with hold_account(ledger, provider.account) as lease:
        if lease is None:
            return f"{provider.name}: another run works for the account"
        return _Advance(ledger, provider, lease, log).run(_ALL if whole_list else _FIRST_PAGE)


class _Advance:
    def __init__(self, ledger: Ledger, provider: Provider, lease: Lease, log: Callable[[str], None]) -> None:
        self._ledger, self._provider, self._lease, self._log = ledger, provider, lease, log
        self._done: Counter[str] = Counter()
        self._errors: list[BatchAssetsError] = []
        self._canceled: set[PlanRef] = set()
        self._drives_until = time.monotonic() + _DRIVE_SECONDS

    def run(self, at_least: int) -> str:
        ledger, provider = self._ledger, self._provider
        self._open_what_was_planned()
        shards = ledger.open_shards(provider.account)
        listing = self._listing(shards, at_least)
        for shard in shards:
            self._lease.renew()
            self._try(f"shard {shard.spec.shard_id}", partial(self._bring_on, shard, listing))
        self._lease.renew()
        self._try("orphans", partial(self._settle_orphans, listing))
        self._try("sending", self._send)
        if self._errors:
            raise self._errors[0]
        done = ", ".join(f"{count} {what}" for what, count in self._done.items() if count)
        return f"{provider.name}: {done or 'nothing to do'}"

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BatchAssetsError as error:
            self._log(f"{what}: {error}")
            self._errors.append(error)

    def _open_what_was_planned(self) -> None:
        """A planner may have died between its plan and the opening of its shards."""
        for found in self._ledger.open_plans():
            if found.canceled:
                self._canceled.add(found.ref)
            if found.opened:
                continue
            try:
                plan = self._ledger.plan(found.ref)
            except FileNotFoundError:  # its planner is still between the marker and the plan, or died there
                continue
            if plan.refused is None and plan.account == self._provider.account:
                open_plan(self._ledger, plan)

    def _close_what_is_settled(self, shards: list[Shard]) -> None:
        """Remove the markers of plans that ended while nobody looked."""
        busy = {shard.spec.plan for shard in shards}
        for found in self._ledger.open_plans():
            if found.opened and found.account == self._provider.account and found.ref not in busy:
                generation_status(self._ledger, found.ref)

    def _listing(self, shards: list[Shard], at_least: int) -> Listing:
        running = [shard for shard in shards if shard.state in RUNNING or shard.state is State.ENDED]
        return find_batches(self._provider, running, at_least=at_least)

    def _bring_on(self, shard: Shard, listing: Listing) -> None:
        """One shard, as far as it goes without sending it."""
        ledger = self._ledger
        match shard.state:
            case State.SUBMITTING | State.AMBIGUOUS:
                settled = reconcile(ledger, self._provider, shard, log=self._log)
                self._done["settled"] += settled is not None
            case State.WAITING | State.BLOCKED:
                self._prepare(shard)
            case State.SUBMITTED | State.CANCELING | State.ENDED if shard.last.batch_id in listing.batches:
                batch = self._driven(shard, listing.batches[shard.last.batch_id])
                if batch is None:
                    self._unknown(shard)
                elif batch.phase is BatchPhase.ENDED:
                    self._harvest(shard, batch)
                elif shard.state is not State.ENDED:
                    self._watch(shard, batch)

    def _driven(self, shard: Shard, batch: BatchInfo | None) -> BatchInfo | None:
        """The batch, after its provider was let execute some of it where that is how it goes on."""
        provider, wanted = self._provider, shard.state is State.SUBMITTED and shard.spec.plan not in self._canceled
        late = time.monotonic() > self._drives_until
        if batch is None or not batch.due or not wanted or late or not isinstance(provider, Driven):
            return batch
        try:
            provider.drive(batch.batch_id, self._lease.renew)
        except Blocked as error:  # what is to be known of the batch is noted all the same
            self._log(str(error))
            self._errors.append(error)
        driven = provider.batch(batch.batch_id)
        if driven.completed != batch.completed:
            self._log(f"batch {driven.batch_id}: {driven.completed or 0:,} requests are answered")
            self._done["worked on"] += 1
        return driven

    def _prepare(self, shard: Shard) -> None:
        """A shard that was not sent: closed if it need not be, else made ready."""
        ledger = self._ledger
        end = unwanted(ledger, shard)
        if end is not None:
            event, reason = end
            ledger.advance(shard, event, reason=reason)
        elif shard.state is State.BLOCKED:
            if unblocks(ledger, shard):
                ledger.advance(shard, Event.UNBLOCK)
        elif shard.spec.waits_for_earlier and may_inherit(ledger, shard):
            inherit(ledger, shard)
            self._done["taken over"] += 1

    def _unknown(self, shard: Shard) -> None:
        """The provider does not know the batch: noted at first, believed when a grace later it still does not."""
        if not shard.last.absences:
            reason = f"the provider does not know batch {shard.last.batch_id}; it is looked for again"
            self._ledger.advance(shard, Event.NOTE, absences=1, reason=reason)
        elif may_be_lost(self._ledger, self._provider, shard):
            self._done["lost"] += lose(self._ledger, shard) is not None

    def _harvest(self, shard: Shard, batch: BatchInfo) -> None:
        if shard.state is not State.ENDED:
            ended = self._ledger.advance(shard, Event.END, reason=batch.error_message)
            if ended is None:
                return
            shard = ended
        harvested = Harvest(self._ledger, self._provider, shard, batch, self._log, self._lease.renew).run()
        if harvested is None or harvested.last.summary is None:
            return
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in harvested.last.summary.outcomes.items())
        self._log(f"batch {batch.batch_id} ({batch.raw_status}): {counts}")
        self._done["harvested"] += 1

    def _watch(self, shard: Shard, batch: BatchInfo) -> None:
        """A batch that has not ended: stopped where nobody wants it or its time is over, and told of to a person."""
        ledger, provider = self._ledger, self._provider
        if shard.spec.plan in self._canceled and shard.state is State.SUBMITTED:
            cancel_shard(ledger, provider, shard)
            self._done["canceled"] += 1
        elif shard.state is State.CANCELING and batch.phase is BatchPhase.RUNNING:
            cancel_batch(provider, batch.batch_id)  # whoever was to ask for it did not get through
        elif is_overdue(ledger, provider, shard, batch):
            reason = (
                f"{remark(ledger, provider, shard, batch)}; a cancel was asked for, so that what it finished returns"
            )
            if ledger.advance(shard, Event.CANCEL, reason=reason, resend=True) is not None:
                self._log(reason)
                cancel_batch(provider, batch.batch_id)
                self._done["overdue"] += 1
        else:
            note = remark(ledger, provider, shard, batch)
            if note != shard.last.reason and ledger.advance(shard, Event.NOTE, reason=note) is not None and note:
                self._log(note)

    def _settle_orphans(self, listing: Listing) -> None:
        ledger, provider = self._ledger, self._provider
        shards = {shard.spec.shard_id: shard for shard in ledger.open_shards(provider.account)}
        for batch in orphans(ledger, provider.account, listing.seen, shards):
            done = settle_orphan(ledger, provider, batch, log=self._log)
            if done is not None:
                self._done[done] += 1

    def _send(self) -> None:
        ledger, provider = self._ledger, self._provider
        shards = ledger.open_shards(provider.account)
        self._close_what_is_settled(shards)
        left = self._done["harvested"]
        self._done["sent"] += send_admitted(ledger, provider, shards, self._lease, left=left, log=self._log)
