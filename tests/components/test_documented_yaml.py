"""The YAML of docs/components.md is a project that loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from yaml_project import Project

from batch_assets.dagster.asset import spec_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "components.md"


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::DeprecationWarning")
def test_it_loads(project: Project) -> None:
    found = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    engine, *assets = [block.replace("my_project", project.name) for block in found]
    project.write("../rows.py", "def with_customers(messages, customers): ...\n")
    project.write("engine/defs.yaml", engine)
    for number, asset in enumerate(assets):
        project.write(f"asset_{number}/defs.yaml", asset.replace("support/messages_classified", "first"))
    assert spec_of(project.batch_asset("first")) is not None
    weekly = project.batch_asset("weekly_moods")
    assert {key.to_user_string() for key in weekly.asset_deps[weekly.key]} == {"support/messages", "customers"}
    assert (project.defs().resources or {}).keys() >= {"openai", "google", "batch_store"}
