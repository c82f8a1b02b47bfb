"""A project of `dg` for each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from yaml_project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    for name in [name for name in sys.modules if name.split(".")[0] == made.name]:
        del sys.modules[name]


@pytest.fixture
def error(project: Project) -> Callable[[], str]:
    """What Dagster says when the project does not load."""

    def said() -> str:
        with pytest.raises(Exception, match=r"defs\.yaml") as raised:
            project.defs()
        chain: list[str] = []
        cause: BaseException | None = raised.value
        while cause is not None:
            chain.append(str(cause))
            cause = cause.__cause__
        return "\n".join(chain)

    return said
