"""Settle an ambiguous submission by looking at the provider, never by sending again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from batch_assets.engine.cancel import cancel_surplus
from batch_assets.engine.setbacks import close_without_results, failure
from batch_assets.engine.settle_without_stamp import find_candidates
from batch_assets.lifecycle import Event, State
from batch_assets.records import BatchPhase, Ending, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import BatchInfo, Shard

_DAY_SECONDS = 86_400.0
_HELD = "on hold"
_SINCE = f"{_HELD}, since it may have been sent: "
_BEYOND_ANCHOR = timedelta(seconds=300)
"""How far behind the anchor a listing is read, by the provider's clock: batches of one second come in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a listing says about a shard."""

    found: list[BatchInfo]
    """The batches that bear its stamp, the one to take first."""
    complete: bool
    """It reaches back to the batch that was the newest before the create call."""


def reconcile(ledger: Ledger, provider: Provider, shard: Shard, *, log: Callable[[str], None]) -> Shard | None:
    """Look for the batch of a shard whose create call was not answered, or whose intent is past its lease.

    Returns the shard where it was settled: found (`submitted`), or absent (`waiting`) in two complete listings with the
    provider's grace between them, both after the input file was deleted, so that a late create has nothing to run.
    Where batches bear no stamp, see settle_without_stamp. None while it is not settled: where a listing says nothing,
    `on_ambiguous` decides after the hold time. A listing that fails says nothing either: raises Transient or Blocked.
    """
    if shard.state is State.SUBMITTING:
        doubted = _doubt(ledger, shard)
        return None if doubted is None else reconcile(ledger, provider, doubted, log=log)
    settle = _settle_by_stamp if provider.limits.stamped else _settle_without_stamp
    return settle(ledger, provider, shard, log)


def _settle_by_stamp(ledger: Ledger, provider: Provider, shard: Shard, log: Callable[[str], None]) -> Shard | None:
    look = _look(ledger, provider, shard)
    if not look.found and not shard.last.absences and shard.last.input_file is not None:
        noted = _delete_input(ledger, provider, shard)
        if noted is None:
            return None
        shard = noted
        look = _look(ledger, provider, shard)
    if look.found:
        return _adopt(ledger, provider, shard, look.found, log)
    return _absent(ledger, provider, shard, complete=look.complete, log=log)


def _settle_without_stamp(ledger: Ledger, provider: Provider, shard: Shard, log: Callable[[str], None]) -> Shard | None:
    look = find_candidates(ledger, provider, shard, log=log)
    if look.ours:
        return _adopt(ledger, provider, shard, look.ours, log)
    if look.why_held is not None:
        return _undecided(ledger, shard, look.why_held, absences=0)
    return _absent(ledger, provider, shard, complete=look.complete, log=log)


def _absent(
    ledger: Ledger, provider: Provider, shard: Shard, *, complete: bool, log: Callable[[str], None]
) -> Shard | None:
    """A listing shows no batch of the shard: believed when a complete one a grace later shows none either."""
    if not complete:
        why = f"the list of batches does not reach back to {shard.last.anchor}, the newest one before the create call"
        return _undecided(ledger, shard, why, absences=shard.last.absences)
    if not shard.last.absences:
        reason = (
            "no batch of it is listed; the list is read again after a while" if is_held(shard) else shard.last.reason
        )
        ledger.advance(shard, Event.MISS, absences=1, reason=reason)
        return None
    if ledger.age_seconds(shard.since) < provider.listing_grace_seconds:
        return None
    log(f"shard {shard.spec.shard_id}: its batch was never created; it waits to be sent")
    return ledger.advance(shard, Event.ABSENT, reason=shard.last.reason, input_file=None, input_deleted=False)


def _doubt(ledger: Ledger, shard: Shard) -> Shard | None:
    """An intent past its lease: whoever was sending it did not come back."""
    if ledger.age_seconds(shard.since) <= (shard.last.lease_seconds or ledger.timing.intent_seconds):
        return None
    return ledger.advance(shard, Event.DOUBT, reason="the process that was sending it did not come back")


def _delete_input(ledger: Ledger, provider: Provider, shard: Shard) -> Shard | None:
    """Delete the input file, so that a late create has nothing to run. That it will be is recorded first."""
    noted: Shard | None = shard
    if not shard.last.input_deleted:
        noted = ledger.advance(shard, Event.NOTE, input_deleted=True, reason=shard.last.reason)
    if noted is not None and noted.last.input_file is not None:
        provider.delete_input(noted.last.input_file)
    return noted


def _look(ledger: Ledger, provider: Provider, shard: Shard) -> _Look:
    """Read the provider's list back to the batch that was newest before the intent, and somewhat further."""
    stamp, anchor = ledger.stamp(shard.spec), shard.last.anchor
    found: list[BatchInfo] = []
    reached_at = None
    for batch in provider.batches():
        if batch.batch_id == anchor:
            reached_at = batch.created_at
        elif reached_at is not None and batch.created_at < reached_at - _BEYOND_ANCHOR:
            break
        elif (batch.stamp == stamp or _has_its_file(batch, shard)) and not _failed_before(batch, shard):
            found.append(batch)
    found.sort(key=lambda batch: (_given_up(batch), batch.created_at))
    return _Look(found=found, complete=anchor is None or reached_at is not None)


def _has_its_file(batch: BatchInfo, shard: Shard) -> bool:
    """Whether a batch that bears no stamp, at a host without metadata, was made of the shard's own upload."""
    return batch.stamp is None and batch.input_file is not None and batch.input_file == shard.last.input_file


def _failed_before(batch: BatchInfo, shard: Shard) -> bool:
    """Whether a batch failed unexecuted: one of an earlier attempt, whose shard was sent again since."""
    return batch.ending is Ending.FAILED and not batch.result_files and not shard.last.input_deleted


def _given_up(batch: BatchInfo) -> bool:
    """Whether a batch was canceled or failed: one that runs, or ran to its end, is taken before it."""
    return batch.phase is BatchPhase.CANCELING or batch.ending in {Ending.CANCELED, Ending.FAILED}


def _adopt(
    ledger: Ledger, provider: Provider, shard: Shard, found: list[BatchInfo], log: Callable[[str], None]
) -> Shard | None:
    """Take the first batch that no other shard owns as the shard's own; the others that run are canceled."""
    kept = provider.limits.results_kept_days * _DAY_SECONDS
    for place, batch in enumerate(found):
        if not ledger.claim_batch(shard.spec, batch.batch_id):
            continue
        adopted = ledger.advance(shard, Event.FIND, batch_id=batch.batch_id, kept_seconds=kept)
        if adopted is None:
            return None
        log(f"shard {shard.spec.shard_id}: found its batch {batch.batch_id}")
        for other in found[place + 1 :]:
            if other.phase is not BatchPhase.ENDED:
                cancel_surplus(ledger, provider, other.batch_id, log=log)
        return adopted
    return None


def is_held(shard: Shard) -> bool:
    """Whether a person has been told that the submission cannot be settled by looking."""
    return shard.state is State.AMBIGUOUS and (shard.last.reason or "").startswith(_HELD)


def why_held(shard: Shard) -> str:
    """What that person has been told."""
    return (shard.last.reason or "").removeprefix(_SINCE)


def _undecided(ledger: Ledger, shard: Shard, why: str, *, absences: int) -> Shard | None:
    """Looking says nothing: a person is told, and after the hold time `on_ambiguous` decides.

    `absences`: how many listings still count that showed no batch of the shard.
    """
    policy = ledger.plan(shard.spec.plan).on_ambiguous
    if policy != "hold" and ledger.age_seconds(shard.entered_at) >= ledger.timing.hold_seconds:
        return end_hold(ledger, shard, policy, decided="as `on_ambiguous` says", why=why)
    reason = f"{_SINCE}{why}"
    if shard.last.reason != reason or ledger.age_seconds(shard.since) >= ledger.timing.blocked_seconds:
        ledger.advance(shard, Event.NOTE, reason=reason, absences=absences)
    return None


def end_hold(
    ledger: Ledger, shard: Shard, policy: Literal["resubmit", "fail"], *, decided: str, why: str
) -> Shard | None:
    """End the wait of a submission that looking cannot settle: send it again, or give its rows up.

    `decided` says who decided it. None if another process was first.
    """
    if policy == "resubmit":
        text = f"sent again, {decided}, although it may have been sent: {why}"
        return ledger.advance(shard, Event.ABSENT, reason=text, input_file=None, input_deleted=False)
    text = f"given up, {decided}; it may have been sent and paid for: {why}"
    failed = failure(Outcome.ERRORED, text, "ambiguous", curable=True)
    return close_without_results(ledger, shard, Event.REFUSE, failed)
