"""`dagster dev` with the example and the emulator, and a page of a headless Chromium."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from batch_assets.emulator import SpawnedEmulator
from batch_assets.samples import KEYS
from examples.dagster_api import DagsterApi
from examples.processes import LOOPBACK, dagster_dev, free_port, make_home, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
LOADING_SECONDS = 120
_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedEmulator]:
    """Batches take an hour of its own time."""
    with SpawnedEmulator(tmp_path_factory.mktemp("emulator"), latency_seconds=3600) as spawned:
        yield spawned


@pytest.fixture(scope="module")
def dagster_url(tmp_path_factory: pytest.TempPathFactory, emulator: SpawnedEmulator) -> Iterator[str]:
    """The UI's address; everything in it is new."""
    if not CHROMIUM.exists():
        assert not os.environ.get("CI"), f"there is no {CHROMIUM}, and in CI these tests may not be skipped"
        pytest.skip(f"there is no {CHROMIUM}: install Debian's package chromium to run the tests in a browser")
    folder = tmp_path_factory.mktemp("dev")
    port = free_port()
    with (
        pytest.MonkeyPatch.context() as environment,
        (folder / "log").open("wb") as log,
    ):
        for name in [name for name in os.environ if name in KEYS.values() or name.startswith("BATCH_ASSETS_")]:
            environment.delenv(name)  # with a key the example goes to the provider itself, and costs money
        process = dagster_dev(make_home(folder / "home"), port=port, emulator_url=emulator.url, log=log)
        try:
            api = DagsterApi(f"http://{LOOPBACK}:{port}")
            deadline = time.monotonic() + LOADING_SECONDS
            while not api.is_ready():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.3)
            yield api.url
        finally:
            stop(process)


@pytest.fixture
def page(dagster_url: str) -> Iterator[Page]:
    """A window of 1440 by 900 pixels."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=_FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, base_url=dagster_url)
        page.set_default_timeout(60_000)
        yield page
        browser.close()
