"""A process is killed before and after every durable step and every call to the provider, one night for each.

A night whose source changes is tried in `make crash`.

Started again, the night ends with the table and the bill of a night in which nobody died.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from deaths import different, is_right, nights_with_a_death, recorded, table_rows, warm_up
from nights import CHANGE, Place, begin, billed, bills, end

if TYPE_CHECKING:
    from pathlib import Path

    from batch_assets.emulator import SpawnedEmulator

PARTS = 2
"""So that pytest-xdist has something to share out."""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", ["one", pytest.param("changed", marks=pytest.mark.thorough)])
def test_killed_at_every_point(emulator: SpawnedEmulator, folder: Path, name: str, part: int) -> None:
    warm_up(folder, emulator)
    calm = Place(folder=folder / "calm", url=emulator.url, tag=f"{name}-calm")
    points = different(recorded(name, calm))
    if name == "changed":  # before that it is the other night
        points = points[[point.name for point in points].index(CHANGE) :]
    places = {
        point: Place(folder=folder / str(number), url=emulator.url, tag=f"{name}-{number}")
        for number, point in enumerate(points)
        if number % PARTS == part
    }
    gc.collect()
    gc.freeze()  # what is collected in a child is copied
    ends = nights_with_a_death(name, places)
    gc.unfreeze()
    all_bills = bills(emulator)
    expected = table_rows(calm, name)
    assert all(row["batch_outcome"] == "succeeded" for row in expected)
    assert is_right(calm, all_bills, name, expected)
    wrong = {
        point: (ends[point], sorted(billed(place, all_bills).values()))
        for point, place in places.items()
        if ends[point] != [9, 0] or not is_right(place, all_bills, name, expected)
    }
    for point in [point for point, (status, _) in wrong.items() if status == [0, 0] and "lease" in point.name]:
        del wrong[point]  # how often a lease is renewed depends on how fast the machine is
    print(f"{name}: killed at {len(places)} of {len(points)} points")
    assert not wrong


def test_the_points_are_those_of_a_night(emulator: SpawnedEmulator, folder: Path) -> None:
    """What a night does is not lost from the list of points unnoticed."""
    points = recorded("one", Place(folder=folder / "calm", url=emulator.url, tag="calm"))
    names = {point.name for point in points}
    assert names >= {
        *("plans", "open planned", "open opened", "spec.json", "open", "batches", "lease taken", "lease released"),
        *(f"journal {state}" for state in ("waiting", "submitting", "submitted", "ended", "harvested")),
        *("drafts snapshot", "drafts shard", "files results", "files raw", "files requests", "publish"),
        *("upload", "newest", "create", "batches", "results", "delete_input"),
        *("delete lease", "delete open", "delete open planned", "delete open opened"),
    }
    assert end(begin(lambda: None)) == 0
