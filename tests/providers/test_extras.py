"""Without the SDKs of the extras everything else works, and the install line is said where one is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

WITHOUT_SDKS = """
import json
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("google.genai", "mistralai"):
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())

import dagster as dg
from batch_assets.cli import main
from batch_assets.dagster import (
    GeminiBatchResource, MistralBatchResource, VertexBatchResource, batch_definitions, build_batch_asset,
)
from batch_assets.errors import ConfigError

@dg.asset
def messages() -> None: ...

said = {}
for name, resource in {
    "gemini": GeminiBatchResource(api_key="k"),
    "vertex": VertexBatchResource(project="p", location="eu", gcs_folder="gs://b", base_url="http://127.0.0.1:1"),
    "mistral": MistralBatchResource(api_key="k"),
}.items():
    answers = build_batch_asset(
        f"{name}_answers", source="messages", provider=name, model="m", prompt="{{ text }}", row_key="id",
        output_type=str,
    )
    batch_definitions(assets=[messages, answers], resources={name: resource})
    try:
        resource.provider(name).check_credentials()
    except ConfigError as error:
        said[name] = str(error)
print(json.dumps(said))
sys.exit(main(["reconcile", "--provider", "gemini", "--store", sys.argv[1]]))
"""


def test_the_install_line_is_said(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(
        '{"format":1,"store_id":"0123456789abcdef","created_at":"2026-01-01T00:00:00Z"}'
    )
    command = [sys.executable, "-c", WITHOUT_SDKS, str(tmp_path)]
    environment = {**os.environ, "GEMINI_API_KEY": "k"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    for name in ("gemini", "vertex", "mistral"):
        assert f'pip install "batch-assets[{name}]"' in said[name]
    (line,) = done.stderr.splitlines()
    assert line.startswith("batch-assets: ")
    assert 'pip install "batch-assets[gemini]"' in line


def test_the_extras_are_there() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert extras["all"] == ["batch-assets[gemini,mistral,vertex]"]
    assert {"gemini", "mistral", "vertex"} <= extras.keys()
