"""A process is killed at every kind of step with every provider, and with a store in a bucket (`make crash`).

OpenAI's nights in a folder, in which every single step is tried, are in test_killed.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deaths import (
    deaths_of_each_kind,
    different,
    ends_of_each_kind,
    of_provider,
    recorded,
    table_rows,
    warm_up,
)
from nights import Place, one_night, run
from points import Points
from vendors import CONCURRENCY, VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from batch_assets.emulator import SpawnedEmulator

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if vendor not in {"openai", "realtime"}])
def test_killed_at_every_kind_of_point(emulator: SpawnedEmulator, folder: Path, vendor: str) -> None:
    ends, wrong = deaths_of_each_kind(emulator, folder, of_provider, vendor=vendor)
    assert wrong == {}
    assert list(ends.values()).count([9, 0]) > 10


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the storage client leaves its connections open
def test_killed_at_every_kind_of_point_of_a_store_in_a_bucket(emulator: SpawnedEmulator, folder: Path) -> None:
    ends, wrong = deaths_of_each_kind(emulator, folder, lambda point: not of_provider(point), bucket=True)
    assert wrong == {}
    assert list(ends.values()).count([9, 0]) > 10


def test_a_host_without_batches_executes_at_most_its_concurrency_again(emulator: SpawnedEmulator, folder: Path) -> None:
    """Nothing can be looked up there: what was under way when the process died is asked for again."""
    warm_up(folder, emulator)
    calm = Place(folder=folder / "calm", url=emulator.url, tag="calm", vendor="realtime")
    points = [point for point in ends_of_each_kind(different(recorded("one", calm))) if of_provider(point)]
    expected = table_rows(calm, "one")
    wrong = {}
    for number, point in enumerate(points):
        place = Place(folder=folder / str(number), url=emulator.url, tag=f"night-{number}", vendor="realtime")
        before = requests_billed(emulator)
        deadly = Points(deadly=point)
        ends = [run(lambda place=place, points=points: one_night(place, points)) for points in (deadly, Points())]  # type: ignore[misc]
        again = requests_billed(emulator) - before - 28
        if ends != [9, 0] or not 0 <= again <= CONCURRENCY or table_rows(place, "one") != expected:
            wrong[point] = (ends, again)
    assert wrong == {}
    assert len(points) > 10


def requests_billed(emulator: SpawnedEmulator) -> int:
    """So far, by all nights: calls without a batch bear no custom_id that would tell whose they are."""
    return int(emulator.bill()["openai"]["requests"])
