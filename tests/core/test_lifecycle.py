"""The table of transitions: everything ends without a person, nothing unknown happens."""

from __future__ import annotations

import pytest

from batch_assets.errors import UnknownTransition
from batch_assets.lifecycle import AT_PROVIDER, TERMINAL, TRANSITIONS, Event, State, next_state


def test_every_state_reaches_a_terminal_one() -> None:
    ends = set(TERMINAL)
    while grown := {source for (source, _), target in TRANSITIONS.items() if target in ends} - ends:
        ends |= grown
    assert ends == set(State)


def test_every_state_can_be_reached_from_the_first() -> None:
    reached = {State.WAITING}
    while grown := {target for (source, _), target in TRANSITIONS.items() if source in reached} - reached:
        reached |= grown
    assert reached == set(State)


def test_terminal_states_are_those_that_hold_their_results_or_were_never_sent() -> None:
    assert {
        State.HARVESTED,
        State.REFUSED,
        State.LOST,
        State.CANCELED,
        State.SPLIT,
        State.SUPERSEDED,
    } == TERMINAL
    assert not TERMINAL & AT_PROVIDER


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_a_pair_is_in_the_table_or_raises(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(UnknownTransition, match=f"that is {state!s} cannot take the event {event!s}"):
        next_state(state, event)


def test_every_event_can_happen() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_nothing_is_sent_without_an_intent_and_nothing_sent_is_forgotten() -> None:
    """A batch is only accepted from an intent; from where a batch may exist, only its fate leads on."""
    assert [source for (source, event) in TRANSITIONS if event is Event.ACCEPT] == [State.SUBMITTING]
    dropped = {
        (source, event)
        for (source, event), target in TRANSITIONS.items()
        if source in {State.SUBMITTED, State.CANCELING, State.AMBIGUOUS}
        and target in {State.CANCELED, State.SPLIT, State.SUPERSEDED}
    }
    assert dropped == set()


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.WAITING, Event.END] = State.ENDED  # type: ignore[index]
