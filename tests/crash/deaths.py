"""Nights in which a process dies at one point each, and whether table and bill are those of a calm night."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from nights import BUYER, VARYING, Place, begin, billed, bills, changed_night, comparable, one_night, run
from points import Point, Points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batch_assets.emulator import SpawnedEmulator

AT_ONE_TIME = 5
NIGHTS: dict[str, Callable[[Place, Points], None]] = {"one": one_night, "changed": changed_night}
REQUESTS = {"one": {28}, "changed": {28, 29, 30, 31}}
"""How many different requests may be sent: rows that change before their shard is sent are never sent as they were."""


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


def ends_of_each_kind(points: list[Point]) -> list[Point]:
    """The first and the last point of each kind: OpenAI's nights are those in which every single one is tried."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        found.setdefault((point.name, point.side), []).append(point)
    return sorted({point for same in found.values() for point in (same[0], same[-1])})


def of_provider(point: Point) -> bool:
    """Whether a point is a call to the provider, or the journal around it."""
    return point.name.startswith("journal") or point.name in {
        *("newest", "upload", "create", "batches", "batch", "cancel", "results", "delete_input")
    }


def deaths_of_each_kind(
    emulator: SpawnedEmulator, folder: Path, wanted: Callable[[Point], bool], **settings: Any
) -> tuple[dict[Point, list[int]], dict[Point, Any]]:
    """How the processes ended for each point, and what of them is not as it must be."""
    warm_up(folder, emulator)
    calm = Place(folder=folder / "calm", url=emulator.url, tag="calm", **settings)
    points = [point for point in ends_of_each_kind(different(recorded("one", calm))) if wanted(point)]
    places = {
        point: Place(folder=folder / str(number), url=emulator.url, tag=f"night-{number}", **settings)
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
    return ends, wrong
