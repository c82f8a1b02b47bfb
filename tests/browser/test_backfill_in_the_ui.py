"""A person clicks: launches a backfill, watches it wait for the provider, and looks at what came out.

With SCREENSHOTS=FOLDER the pictures of the docs are taken on the way (`make screenshots`).
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from batch_assets.emulator import SpawnedEmulator

pytestmark = pytest.mark.thorough

ASSET = "support_queries_classified"
CHECKS = [
    *("every_row_accounted_for", "success_rate", "schema_valid_rate", "cost_within_budget", "cost_near_estimate"),
]
WAITING_MS = 180_000


def picture(page: Page, name: str) -> None:
    """Keep what is to be seen, in 256 colours."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.wait_for_timeout(1500)  # what moves comes to rest
        shot = Image.open(BytesIO(page.screenshot()))
        shot.convert("RGB").quantize(256).save(Path(folder) / f"{name}.png", optimize=True)


def test_a_backfill_by_clicking(page: Page, emulator: SpawnedEmulator) -> None:
    last = datetime.now(UTC).date() - timedelta(days=2)
    days = [(last - timedelta(days=back)).isoformat() for back in (2, 0)]
    page.goto("/locations/definitions.py/asset-groups/default/lineage")
    expect(page.get_by_text(ASSET).first).to_be_visible()
    page.get_by_role("button", name=re.compile("Materialize all")).first.click()
    dialog = page.get_by_role("dialog")
    partitions = dialog.get_by_role("textbox").first
    partitions.click()
    partitions.fill(f"[{days[0]}...{days[1]}]")
    partitions.press("Enter")
    partitions.press("Tab")
    launch = dialog.get_by_role("button", name="Launch backfill")
    expect(launch).to_be_enabled()
    launch.click()
    expect(dialog).to_be_hidden()

    page.goto("/runs")
    backfill = page.locator('a[href*="/runs/b/"]').first
    backfill.wait_for()
    page.goto(str(backfill.get_attribute("href")))
    in_progress, succeeded = (page.get_by_text(text, exact=True) for text in ("In progress", "Succeeded"))
    # The sources are there; the batch assets, and the report below them, wait.
    expect(page.get_by_text("100% completed")).to_have_count(2, timeout=WAITING_MS)
    expect(page.get_by_text(re.compile("^0% completed"))).to_have_count(3)
    expect(in_progress).to_have_count(2)  # the title of a column, and the status
    picture(page, "backfill-in-progress")
    emulator.advance(3601)
    expect(page.get_by_text("100% completed")).to_have_count(5, timeout=WAITING_MS)
    expect(succeeded).to_have_count(2, timeout=WAITING_MS)
    picture(page, "backfill-succeeded")

    page.goto(f"/assets/{ASSET}?view=overview")
    expect(page.get_by_text("urgency", exact=True).first).to_be_visible()
    expect(page.get_by_text("1: can wait, 5: money is being lost now").first).to_be_visible()
    expect(page.get_by_text("batch_assets/cost_usd").first).to_be_visible()
    page.get_by_role("button", name="Plots").click()
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_text("batch_assets/saved_usd").first).to_be_visible()
    page.get_by_text("batch_assets/cost_usd").first.scroll_into_view_if_needed()
    picture(page, "plots")

    page.goto(f"/assets/{ASSET}?view=checks")
    for check in CHECKS:
        expect(page.get_by_text(check).first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(CHECKS))
    page.get_by_text(CHECKS[1]).first.click()
    expect(page.get_by_text(re.compile("rows succeeded")).first).to_be_visible()
    picture(page, "checks")

    page.goto("/locations/definitions.py/asset-groups/default/lineage")
    expect(page.get_by_text("intent_report").first).to_be_visible()
    picture(page, "lineage")
