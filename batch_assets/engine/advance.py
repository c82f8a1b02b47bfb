"""The work for one account: open what a planner left, settle, end, harvest, cut again, admit, submit. Under a lease."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from batch_assets.engine.harvest import Harvest, close_without_results, failure
from batch_assets.engine.inherit import inherit, may_inherit
from batch_assets.engine.lease import hold_account
from batch_assets.engine.poll import BLOCKED_SECONDS, find_batches
from batch_assets.engine.reconcile import reconcile
from batch_assets.engine.status import is_current
from batch_assets.engine.submit import send_admitted
from batch_assets.errors import BatchAssetsError
from batch_assets.lifecycle import Event, State
from batch_assets.records import BatchPhase, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.engine.lease import Lease
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard


def advance_account(ledger: Ledger, provider: Provider, *, log: Callable[[str], None] = lambda _: None) -> str:
    """Bring every open shard of the account as far as it goes now; returns a line that says what was done.

    A shard that fails does not stop the others; the first error is raised when the others are done.
    """
    with hold_account(ledger, provider.account) as lease:
        if lease is None:
            return f"{provider.name}: another run works for the account"
        return _Advance(ledger, provider, lease, log).run()


class _Advance:
    def __init__(self, ledger: Ledger, provider: Provider, lease: Lease, log: Callable[[str], None]) -> None:
        self._ledger, self._provider, self._lease, self._log = ledger, provider, lease, log
        self._done: Counter[str] = Counter()
        self._errors: list[BatchAssetsError] = []

    def run(self) -> str:
        ledger, provider = self._ledger, self._provider
        self._open_what_was_planned()
        shards = ledger.open_shards(provider.account)
        running = [shard for shard in shards if shard.state in {State.SUBMITTED, State.CANCELING, State.ENDED}]
        batches = find_batches(provider, running)
        for shard in shards:
            self._lease.renew()
            try:
                self._bring_on(shard, batches)
            except BatchAssetsError as error:
                self._log(f"shard {shard.spec.shard_id}: {error}")
                self._errors.append(error)
        self._done["sent"] += send_admitted(
            ledger, provider, ledger.open_shards(provider.account), self._lease, log=self._log
        )
        if self._errors:
            raise self._errors[0]
        done = ", ".join(f"{count} {what}" for what, count in self._done.items() if count)
        return f"{provider.name}: {done or 'nothing to do'}"

    def _open_what_was_planned(self) -> None:
        """A planner may have died between its plan and the opening of its shards."""
        for found in self._ledger.open_plans():
            if found.account != self._provider.account or found.opened:
                continue
            try:
                plan = self._ledger.plan(found.ref)
            except FileNotFoundError:  # its planner is still between the marker and the plan, or died there
                continue
            if plan.refused is None:
                self._ledger.open_shards_of(plan)

    def _bring_on(self, shard: Shard, batches: dict[str, BatchInfo | None]) -> None:
        """One shard, as far as it goes without sending it."""
        ledger = self._ledger
        match shard.state:
            case State.SUBMITTING | State.AMBIGUOUS:
                settled = reconcile(ledger, self._provider, shard, log=self._log)
                self._done["settled"] += settled is not None
            case State.BLOCKED if ledger.age_seconds(shard.since) > BLOCKED_SECONDS:
                ledger.advance(shard, Event.UNBLOCK)
            case State.WAITING if shard.spec.waits_for_earlier:
                self._wait_for_earlier(shard)
            case State.SUBMITTED | State.CANCELING | State.ENDED if shard.last.batch_id in batches:
                batch = batches[shard.last.batch_id]
                if batch is None:
                    self._lost(shard)
                elif batch.phase is BatchPhase.ENDED:
                    self._harvest(shard, batch)

    def _lost(self, shard: Shard) -> None:
        text = f"the provider no longer knows batch {shard.last.batch_id}; whether it was paid for is not known"
        failed = failure(Outcome.MISSING, text, "lost", curable=True)
        close_without_results(self._ledger, shard, Event.VANISH, failed)
        self._done["lost"] += 1

    def _harvest(self, shard: Shard, batch: BatchInfo) -> None:
        if shard.state is not State.ENDED:
            ended = self._ledger.advance(shard, Event.END, reason=batch.error_message)
            if ended is None:
                return
            shard = ended
        harvested = Harvest(self._ledger, self._provider, shard, batch, self._log).run()
        if harvested is None or harvested.last.summary is None:
            return
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in harvested.last.summary.outcomes.items())
        self._log(f"batch {batch.batch_id} ({batch.raw_status}): {counts}")
        self._done["harvested"] += 1

    def _wait_for_earlier(self, shard: Shard) -> None:
        if not is_current(self._ledger, shard.spec.plan):
            self._ledger.advance(shard, Event.SUPERSEDE, reason="a newer plan of the partition has its requests")
        elif may_inherit(self._ledger, shard):
            inherit(self._ledger, shard)
            self._done["taken over"] += 1
