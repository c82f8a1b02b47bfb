"""A project of `dg` in a temporary folder, loaded in this process as Dagster loads it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import dagster as dg

_NAMES = (f"project_{number}" for number in count())

ENGINE = """
type: batch_assets.dagster.BatchEngineComponent
attributes:
  providers:
    openai:
      type: OpenAIBatchResource
      api_key: "{{ env.OPENAI_API_KEY }}"
"""
ASSET = """
type: batch_assets.dagster.BatchAssetComponent
attributes:
  asset:
    key: classified
  source: messages
  row_key: id
  provider: openai
  model: gpt-5-mini
  prompt: "Classify: {{ text }}"
  output_type: str
"""


class Project:
    """Its files, and the definitions that Dagster makes of them."""

    def __init__(self, root: Path) -> None:
        self.name = next(_NAMES)
        self.root = root
        self.defs_folder = root / self.name / "defs"
        self.write("../__init__.py", "")
        self.write("__init__.py", "")
        self.write("engine/defs.yaml", ENGINE)
        (root / "pyproject.toml").write_text(
            f'[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "{self.name}"\n'
        )

    def write(self, name: str, content: str) -> Path:
        file = self.defs_folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def asset(self, *changes: tuple[str, str], add: str = "") -> None:
        """The one batch asset, with lines replaced or added."""
        content = ASSET
        for old, new in changes:
            assert old in content
            content = content.replace(old, new)
        self.write("classified/defs.yaml", content + add)

    def defs(self) -> dg.Definitions:
        return dg.load_from_defs_folder(path_within_project=self.defs_folder)

    def batch_asset(self, key: str = "classified") -> dg.AssetsDefinition:
        (found,) = [
            each
            for each in self.defs().assets or ()
            if isinstance(each, dg.AssetsDefinition) and each.key.to_user_string() == key
        ]
        return found
