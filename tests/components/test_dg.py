"""`dg` itself: the components are listed, scaffolded and checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster_dg_cli.cli import create_dg_cli
from yaml_project import Project

ASSET_TYPE = "batch_assets.dagster.BatchAssetComponent"
ENGINE_TYPE = "batch_assets.dagster.BatchEngineComponent"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "yaml_project"

pytestmark = pytest.mark.filterwarnings("ignore")  # dg is told about its own


def dg(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of one command of `dg` in the folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("COLUMNS", "200")
        done = CliRunner().invoke(create_dg_cli(), [*words])
    return done.exit_code, done.output


def test_scaffolded_yaml_is_commented_and_loads(project: Project) -> None:
    (project.defs_folder / "engine" / "defs.yaml").unlink()
    (project.defs_folder / "engine").rmdir()
    for component, folder in ((ENGINE_TYPE, "engine"), (ASSET_TYPE, "messages-classified")):
        code, said = dg(project.root, "scaffold", "defs", component, folder)
        assert code == 0, said
    written = (project.defs_folder / "messages-classified" / "defs.yaml").read_text()
    assert written.startswith(f"type: {ASSET_TYPE}\n")
    assert "key: messages_classified" in written
    assert "# The asset whose rows are sent" in written
    assert project.batch_asset("messages_classified")


@pytest.mark.parametrize(
    ("written", "line", "words"),
    [
        ("rowkey: id", 7, "'rowkey' was unexpected"),
        ("row_key: id\n  max_output_tokens: [1]", 8, "max_output_tokens"),
    ],
)
def test_check_yaml_shows_file_and_line(project: Project, written: str, line: int, words: str) -> None:
    project.asset(("row_key: id", written))
    code, said = dg(project.root, "check", "yaml")
    assert code == 1
    assert f"defs.yaml:{line} - " in said
    assert words in said


def test_the_example_is_listed_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    code, said = dg(EXAMPLE, "list", "components")
    assert code == 0, said
    assert ASSET_TYPE in said
    assert ENGINE_TYPE in said
    code, said = dg(EXAMPLE, "check", "defs")  # begins with `check yaml`
    assert code == 0, said
    assert "All component YAML validated successfully." in said
    assert "All definitions loaded successfully." in said
