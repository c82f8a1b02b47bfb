"""What can happen to a shard: every state, every event, every transition, in one table.

A shard changes only by `next_state`; a pair that the table does not hold raises. The comment of a state says how it
is left without a person, or which reason a person is shown.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from batch_assets.errors import UnknownTransition

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a shard stands. The names are part of the store's format."""

    WAITING = "waiting"
    """Not sent. Left by the next advance that admission lets through."""
    SUBMITTING = "submitting"
    """The intent is durable; a create call may be under way. Left by its answer, or by the end of its lease."""
    AMBIGUOUS = "ambiguous"
    """A create call may have been accepted. Left by looking at the provider's list; a hold shows its reason."""
    BLOCKED = "blocked"
    """The account cannot submit (401, 402, 403, unknown model, quota). Tried again later; shows its reason."""
    SUBMITTED = "submitted"
    """The provider has one batch of ours for it. Left when the provider says that it ended."""
    CANCELING = "canceling"
    """A cancel was asked for. Left when the provider says that the batch ended."""
    ENDED = "ended"
    """The batch runs no more; what it finished is to be fetched. Left by the next advance."""
    HARVESTED = "harvested"
    """Terminal: every request has its result in the store, and those to try again have a child shard."""
    REFUSED = "refused"
    """Terminal: the provider refused this input; the reason stands on its requests, the others have a child shard."""
    LOST = "lost"
    """Terminal: the provider no longer knows the batch (404); its requests are `missing`."""
    CANCELED = "canceled"
    """Terminal: never sent, and no longer wanted."""
    SPLIT = "split"
    """Terminal: never sent in this cut; its child shards hold the same requests."""
    SUPERSEDED = "superseded"
    """Terminal: never sent; a newer plan of the partition, or another cut of its parent, has its requests."""


class Event(StrEnum):
    """What may happen to a shard."""

    INTEND = "intend"
    """The intent to send it is being made durable."""
    ACCEPT = "accept"
    """The provider answered the create call with a batch."""
    QUEUE_FULL = "queue_full"
    """The provider said wait: 429, or its queue is full."""
    BLOCK = "block"
    """The provider does not let the account submit."""
    REFUSE = "refuse"
    """The provider definitely refused this input, or a person's setting gives up an undecided submission."""
    ABORT = "abort"
    """Its submitter came too late to send it, and did not."""
    DOUBT = "doubt"
    """The reply of a create call was lost, or its lease ran out."""
    FIND = "find"
    """The provider's list shows a batch with the shard's stamp, or the reply to its create call came late."""
    ABSENT = "absent"
    """Complete listings, with a grace between them, show no batch of the shard."""
    MISS = "miss"
    """A complete listing shows no batch of the shard; one more has to say so."""
    NOTE = "note"
    """Something about it that a person should know, or that is over: its state stays."""
    UNBLOCK = "unblock"
    """The reason of a block may be gone: it may be tried again."""
    CANCEL = "cancel"
    """Nobody waits for the shard any more."""
    END = "end"
    """The provider says that the batch runs no more."""
    VANISH = "vanish"
    """The provider does not know the batch (404), twice with a grace between."""
    REQUEUE = "requeue"
    """The provider accepted the batch, then failed it unexecuted: its queue was full, or its input was deleted."""
    HARVEST = "harvest"
    """Every request has its result in the store."""
    SPLIT = "split"
    """It was cut again before it was sent."""
    SUPERSEDE = "supersede"
    """A newer plan took over its requests before it was sent."""


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.WAITING, Event.INTEND): State.SUBMITTING,
        (State.WAITING, Event.FIND): State.SUBMITTED,
        (State.WAITING, Event.BLOCK): State.BLOCKED,
        (State.WAITING, Event.REFUSE): State.REFUSED,
        (State.WAITING, Event.CANCEL): State.CANCELED,
        (State.WAITING, Event.SPLIT): State.SPLIT,
        (State.WAITING, Event.SUPERSEDE): State.SUPERSEDED,
        (State.SUBMITTING, Event.ACCEPT): State.SUBMITTED,
        (State.SUBMITTING, Event.QUEUE_FULL): State.WAITING,
        (State.SUBMITTING, Event.BLOCK): State.BLOCKED,
        (State.SUBMITTING, Event.REFUSE): State.REFUSED,
        (State.SUBMITTING, Event.ABORT): State.WAITING,
        (State.SUBMITTING, Event.DOUBT): State.AMBIGUOUS,
        (State.AMBIGUOUS, Event.FIND): State.SUBMITTED,
        (State.AMBIGUOUS, Event.MISS): State.AMBIGUOUS,
        (State.AMBIGUOUS, Event.NOTE): State.AMBIGUOUS,
        (State.AMBIGUOUS, Event.ABSENT): State.WAITING,
        (State.AMBIGUOUS, Event.REFUSE): State.REFUSED,
        (State.BLOCKED, Event.UNBLOCK): State.WAITING,
        (State.BLOCKED, Event.CANCEL): State.CANCELED,
        (State.BLOCKED, Event.SUPERSEDE): State.SUPERSEDED,
        (State.SUBMITTED, Event.NOTE): State.SUBMITTED,
        (State.SUBMITTED, Event.CANCEL): State.CANCELING,
        (State.SUBMITTED, Event.END): State.ENDED,
        (State.SUBMITTED, Event.VANISH): State.LOST,
        (State.CANCELING, Event.NOTE): State.CANCELING,
        (State.CANCELING, Event.END): State.ENDED,
        (State.CANCELING, Event.VANISH): State.LOST,
        (State.ENDED, Event.NOTE): State.ENDED,
        (State.ENDED, Event.REQUEUE): State.WAITING,
        (State.ENDED, Event.BLOCK): State.BLOCKED,
        (State.ENDED, Event.HARVEST): State.HARVESTED,
        (State.ENDED, Event.VANISH): State.LOST,
    }
)

TERMINAL = frozenset(set(State) - {source for source, _ in TRANSITIONS})
"""States that are never left."""

AT_PROVIDER = frozenset({State.SUBMITTING, State.AMBIGUOUS, State.SUBMITTED, State.CANCELING})
"""States in which the provider may be holding, running or billing a batch of the shard."""


def next_state(state: State, event: Event) -> State:
    """The state that `event` leads to. Raises UnknownTransition for a pair that the table does not hold."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise UnknownTransition(f"a shard that is {state!s} cannot take the event {event!s}") from None
