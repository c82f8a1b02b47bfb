"""The provider that docs/new-provider.md shows passes the contract, and is found by an entry point."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError
from batch_assets.providers.registry import make_provider

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new-provider.md"
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
ENTRY_POINT = "\n".join(re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))

_shown: dict[str, Any] = {"__name__": "acme_batches"}
exec(compile(CODE, str(PAGE), "exec"), _shown)
TestAcme = _shown["TestAcme"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code as an installed package."""
    (tmp_path / "acme_batches.py").write_text(CODE)
    info = tmp_path / "acme_batches-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-batches\nVersion: 1.0\n")
    points = ENTRY_POINT.replace('[project.entry-points."batch_assets.providers"]', "[batch_assets.providers]")
    (info / "entry_points.txt").write_text(points.replace('"', "") + "beta = acme_batches:beta\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_batches", raising=False)


def test_it_is_found_by_its_name(installed: None, batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = make_provider("acme", {"base_url": batch_emulator.openai_base_url})
    with pytest.raises(ConfigError, match="ACME_API_KEY"):
        provider.check_credentials()
    monkeypatch.setenv("ACME_API_KEY", "sk-emulator")
    assert make_provider("acme", {"base_url": batch_emulator.openai_base_url}).newest() is None
    beta = make_provider("beta", {"completion_window": "72h"})
    assert (beta.vendor, beta.limits.completion_window) == ("beta", "72h")
