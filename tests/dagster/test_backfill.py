"""Backfills through Dagster's own daemons."""

from __future__ import annotations

import pytest
from conftest import Nights, write_night
from world import World

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
]

ALL = ["tickets", "summarized", "classified", "rated", "digest"]


def test_chain_and_diamond_over_three_nights(nights: Nights, night_world: World) -> None:
    backfill = night_world.backfill(ALL, nights.days)
    night_world.round(times=4)
    print("\n".join(night_world.selections()))
    assert night_world.status(backfill) == "REQUESTED"
    assert nights.bought == 0
    nights.emulator.advance(3601)
    night_world.round(times=3)
    print("\n".join(night_world.selections()), night_world.status(backfill), night_world.progress(backfill))
    nights.emulator.advance(3601)
    night_world.until_ended(backfill)
    for s in ("batch_poll", "batch_resume"):
        for t in night_world.ticks(s)[:12]:
            print(s, t.status, t.skip_reason, t.error)
    assert night_world.until_ended(backfill) == "COMPLETED_SUCCESS", "\n".join(night_world.selections())
    print("\n".join(night_world.selections()))
    for s in ("batch_poll", "batch_resume"):
        for t in night_world.ticks(s)[:12]:
            print(s, t.status, t.skip_reason, t.error)
