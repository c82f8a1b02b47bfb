"""Processes that do the same work at one time, and processes that sleep while others do theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nights import (
    QUICK,
    Place,
    begin,
    billed,
    bills,
    comparable,
    end,
    fell_asleep,
    one_night,
    run,
    wake,
)
from points import Point, Points
from test_killed import different, recorded

from batch_assets.emulator import SpawnedEmulator
from batch_assets.engine import advance_account, poll_account
from batch_assets.errors import BatchAssetsError

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = 2
_FAKETIME = [Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1") for machine in ("x86_64", "aarch64")]
HERE = Path(__file__).parent


def place_in(folder: Path, emulator: SpawnedEmulator, tag: str) -> Place:
    place = Place(folder=folder / tag, url=emulator.url, tag=tag)
    place.folder.mkdir(parents=True)
    return place


def assert_right(emulator: SpawnedEmulator, place: Place, calm: Place) -> None:
    """The table is that of the calm night, and each request was billed once."""
    all_bills = bills(emulator)
    assert sorted(billed(place, all_bills).values()) == [1] * 28
    assert comparable(place.table) == comparable(calm.table)


def together(folder: Path, works: list[Callable[[], None]]) -> list[int]:
    """Begin all of them at one moment, each in its process; how they ended."""
    signal_file = folder / "go"

    def after_the_signal(work: Callable[[], None]) -> None:
        while not signal_file.exists():
            time.sleep(0.001)
        work()

    children = [begin(lambda work=work: after_the_signal(work)) for work in works]  # type: ignore[misc]
    signal_file.touch()
    return [end(child) for child in children]


def ticks(place: Place, seconds: float) -> None:
    """A sensor: it polls, and advances where that says so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ledger, provider = place.ledger(), place.provider()
        with suppress(BatchAssetsError):
            if poll_account(ledger, provider).needs_advance:
                advance_account(ledger, provider)
        time.sleep(0.02)


def advances(place: Place, seconds: float) -> None:
    """Runs of batch_advance, one after the other, whether they are needed or not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(BatchAssetsError):
            advance_account(place.ledger(), place.provider())


@pytest.mark.parametrize("lease_seconds", [20.0, 0.05], ids=["under the lease", "leases run out at once"])
def test_planners_submitters_advancers_and_a_sensor(
    emulator: SpawnedEmulator, folder: Path, lease_seconds: float
) -> None:
    """With leases that run out at once, several processes work for the account: only the journal is left."""
    calm = place_in(folder, emulator, "calm")
    assert run(lambda: one_night(calm, Points())) == 0
    emulator.set_latency(0.3)
    timing = replace(QUICK, lease_seconds=lease_seconds, intent_seconds=5, create_seconds=4)
    for number in range(2):
        race(emulator, replace(place_in(folder, emulator, f"race-{number}"), timing=timing), calm)


def race(emulator: SpawnedEmulator, place: Place, calm: Place) -> None:
    """Two planners that submit and advance, two more that advance, and a sensor."""
    seconds = 2.0
    nights = [lambda: one_night(place, Points())] * 2
    others = [lambda: advances(place, seconds), lambda: advances(place, seconds), lambda: ticks(place, seconds)]
    assert together(place.folder, [*nights, *others])[2:] == [0, 0, 0]
    assert run(lambda: one_night(place, Points())) == 0
    assert_right(emulator, place, calm)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_process_sleeps_while_others_do_its_work(emulator: SpawnedEmulator, folder: Path, part: int) -> None:
    """Past its lease, its intent and its create call, at every kind of point; then it goes on as if nothing was."""
    calm = place_in(folder, emulator, "calm")
    (folder / "calm").rmdir()
    points = different(recorded("one", calm))
    kinds = [point for point in points if point.occurrence == 1]
    wrong: dict[Point, object] = {}
    for number, point in enumerate(kinds[part::PARTS]):
        place = place_in(folder, emulator, f"sleep-{part}-{number}")
        sleeper = begin(lambda place=place, point=point: one_night(place, Points(sleepy=point)))  # type: ignore[misc]
        slept = fell_asleep(sleeper)
        others = run(lambda place=place: one_night(place, Points()))  # type: ignore[misc]
        woken = wake(sleeper) if slept else -1  # 1: it noticed that it had lost its lease
        again = run(lambda place=place: one_night(place, Points()))  # type: ignore[misc]
        advance_account(place.ledger(), place.provider(), whole_list=True)
        bill = sorted(billed(place, bills(emulator)).values())
        right = bill == [1] * 28 and comparable(place.table) == comparable(calm.table)
        if not right or others or again or woken not in {0, 1}:
            wrong[point] = (right, others, woken, again, bill)
    assert not wrong


def test_a_create_that_is_sent_long_after_its_intent(emulator: SpawnedEmulator, folder: Path) -> None:
    """The submitter sleeps between its last look at the clock and the create call: the input file is gone by then."""
    calm = place_in(folder, emulator, "calm")
    assert run(lambda: one_night(calm, Points())) == 0
    place = place_in(folder, emulator, "late")
    sleeper = begin(lambda: one_night(place, Points(sleepy=Point("create", 1, "before"))))
    assert fell_asleep(sleeper)
    assert run(lambda: one_night(place, Points())) == 0
    assert wake(sleeper) in {0, 1}
    assert_right(emulator, place, calm)


@pytest.mark.parametrize("offset", ["+600", "-600"])
def test_a_clock_that_is_ten_minutes_off(emulator: SpawnedEmulator, folder: Path, offset: str) -> None:
    """One machine's wall clock is wrong: nobody's lease is taken from it, and it takes nobody's."""
    library = next((path for path in _FAKETIME if path.exists()), None)
    if library is None:
        pytest.skip("needs libfaketime")
    calm = place_in(folder, emulator, "calm")
    assert run(lambda: one_night(calm, Points())) == 0
    patient = replace(QUICK, lease_seconds=60, create_seconds=20, intent_seconds=50)  # however busy this machine is
    place = replace(place_in(folder, emulator, "off"), timing=patient)
    faked = {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    code = (
        "import json, sys, time; sys.path.insert(0, sys.argv[1]);"
        "from dataclasses import replace; from pathlib import Path; from nights import *; from points import *;"
        "timing = Timing(**json.loads(sys.argv[4]));"
        "place = Place(folder=Path(sys.argv[2]), url=sys.argv[3], tag='off', timing=timing);"
        "print(time.time(), flush=True);"
        "evening(place, Points(sleepy=Point('create', 1, 'before')))"
    )
    command = [sys.executable, "-c", code, str(HERE), str(place.folder), place.url, json.dumps(asdict(patient))]
    with subprocess.Popen(command, env={**os.environ, **faked}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert abs(float(process.stdout.readline()) - time.time() - float(offset)) < 60
        assert fell_asleep(process.pid)
        assert "another run works" in advance_account(place.ledger(), place.provider())
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=60) == 0
    assert run(lambda: one_night(place, Points())) == 0
    assert_right(emulator, place, calm)


def test_clocks_of_store_and_provider_are_far_apart(emulator: SpawnedEmulator, folder: Path) -> None:
    calm = place_in(folder, emulator, "calm")
    assert run(lambda: one_night(calm, Points())) == 0
    for number, (ahead, provider_ahead) in enumerate([(600, 0), (-600, 0), (0, 600)]):
        place = replace(place_in(folder, emulator, f"apart-{number}"), store_ahead_seconds=ahead)
        emulator.advance(provider_ahead)
        sleepy = Point("journal submitting", 1, "after")
        sleeper = begin(lambda place=place, sleepy=sleepy: one_night(place, Points(sleepy=sleepy)))  # type: ignore[misc]
        assert fell_asleep(sleeper)
        assert run(lambda place=place: one_night(place, Points())) == 0  # type: ignore[misc]
        assert wake(sleeper) in {0, 1}
        assert_right(emulator, place, calm)


def test_only_people_read_a_wall_clock() -> None:
    """Ages are measured by the store's clock: the engine reads its own only for what people see, and for prices."""
    package = HERE.parents[1] / "batch_assets"
    readers = set()
    for file in [*package.glob("*.py"), *package.glob("engine/*.py"), *package.glob("providers/*.py")]:
        text = file.read_text()
        if "datetime.now(" in text or "time.time(" in text or "utcnow(" in text:
            readers.add(file.name)
    assert readers == {"ledger.py", "plan.py", "budget.py"}
