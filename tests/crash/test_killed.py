"""A process is killed before and after every durable step and every call to the provider, one night for each.

Started again, the night ends with the table and the bill of a night in which nobody died.
"""

from __future__ import annotations

import gc
import json
import os
from typing import TYPE_CHECKING

import pytest
from nights import (
    BUYER,
    CHANGE,
    VARYING,
    Place,
    arm,
    begin,
    billed,
    bills,
    changed_night,
    comparable,
    end,
    one_night,
    run,
)
from points import Point, Points

from batch_assets.emulator import SpawnedEmulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AT_ONE_TIME = 5
PARTS = 2
"""So that pytest-xdist has something to share out."""
NIGHTS: dict[str, Callable[[Place, Points], None]] = {"one": one_night, "changed": changed_night}
REQUESTS = {"one": {28}, "changed": {28, 29, 30, 31}}
"""How many different requests may be sent: rows that change before their shard is sent are never sent as they were."""


@pytest.fixture
def emulator() -> Iterator[SpawnedEmulator]:
    with SpawnedEmulator(latency_seconds=0) as emulator:
        arm(emulator)
        yield emulator


def warm_up(folder: Path, emulator: SpawnedEmulator) -> None:
    """A night in this process: the ones that are forked from it have nothing left to import."""
    one_night(Place(folder=folder / "warm", url=emulator.url, tag="warm"), Points())


def recorded(name: str, place: Place) -> list[Point]:
    """The points of a night in which nobody dies."""
    log = place.folder / "points.jsonl"
    place.folder.mkdir(parents=True)
    assert run(lambda: NIGHTS[name](place, Points(log=log))) == 0
    return [Point(*json.loads(line)) for line in log.read_text().splitlines()]


def different(points: list[Point]) -> list[Point]:
    """The points at which the world looks different: after a step, it looks as it does before the next one."""
    return [point for number, point in enumerate(points) if not number or point.side != "before"]


def nights_with_a_death(name: str, places: dict[Point, Place]) -> dict[Point, list[int]]:
    """For each point, how the process ended that was to die there, and those that were started after it."""
    ends: dict[Point, list[int]] = {point: [] for point in places}
    waiting, running = list(places), {}
    while waiting or running:
        while waiting and len(running) < AT_ONE_TIME:
            point = waiting.pop()
            deadly = None if ends[point] else point
            place = places[point]
            place.folder.mkdir(parents=True, exist_ok=True)
            running[begin(lambda place=place, deadly=deadly: NIGHTS[name](place, Points(deadly=deadly)))] = point
        child, status = os.waitpid(-1, 0)
        if child not in running:
            continue
        point = running.pop(child)
        ends[point].append(os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        if len(ends[point]) < 2:
            waiting.append(point)
    return ends


def is_right(place: Place, all_bills: dict[str, dict[str, int]], name: str, expected: list[dict[str, object]]) -> bool:
    """Whether the table is that of a calm night, each of its requests was billed, and none twice."""
    bill = billed(place, all_bills)
    needed = {custom_id.partition("-")[2] for custom_id in place.table["batch_custom_id"].to_pylist()}
    once = set(bill.values()) == {1} and len(bill) in REQUESTS[name] and needed <= set(bill)
    return once and table_rows(place, name) == expected


def table_rows(place: Place, name: str) -> list[dict[str, object]]:
    """What must be the same in every night."""
    return comparable(place.table, without=VARYING if name == "one" else VARYING | BUYER)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", list(NIGHTS))
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


SENDING = {"newest", "create", "journal submitting", "journal submitted", "batches", "lease taken"}
"""Points around the create calls."""


def test_killed_around_the_create_calls_without_a_stamp(emulator: SpawnedEmulator, folder: Path) -> None:
    """Anthropic's batches bear nothing of ours: they are known by their number of requests and their results."""
    warm_up(folder, emulator)
    calm = Place(folder=folder / "calm", url=emulator.url, tag="calm", vendor="anthropic")
    points = [point for point in different(recorded("one", calm)) if point.name in SENDING]
    places = {
        point: Place(folder=folder / str(number), url=emulator.url, tag=f"a{number}", vendor="anthropic")
        for number, point in enumerate(points)
    }
    ends = nights_with_a_death("one", places)
    all_bills = bills(emulator)
    expected = table_rows(calm, "one")
    assert is_right(calm, all_bills, "one", expected)
    wrong = {
        point: (ends[point], sorted(billed(place, all_bills).values()))
        for point, place in places.items()
        if ends[point][-1] != 0 or not is_right(place, all_bills, "one", expected)
    }
    assert len([point for point in places if ends[point] == [9, 0]]) > 10
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
