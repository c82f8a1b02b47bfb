"""What README and docs show is what there is: code is run, commands are parsed, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from dagster_dg_cli.cli import create_dg_cli

from batch_assets.cli.arguments import parser
from batch_assets.emulator import Emulator

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)\)")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)


def blocks(document: Path, language: str) -> list[str]:
    return [code for kind, code in _BLOCK.findall(document.read_text()) if kind == language]


def commands(document: Path) -> Iterator[list[str]]:
    for block in blocks(document, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def imported(code: str, folder: Path, name: str) -> ModuleType:
    """The code as a module from a file: annotations are resolved as in a user's own."""
    file = folder / f"{name}.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@every_document
def test_python_runs_and_its_tests_pass(document: Path, tmp_path: Path, batch_emulator: Emulator) -> None:
    code = "\n".join(blocks(document, "python"))
    module = imported(code, tmp_path, f"blocks_of_{document.stem.replace('-', '_').lower()}")
    for name, test in vars(module).items():
        if name.startswith("test_"):
            test()


def dg_has(group: str, command: str) -> bool:
    cli = create_dg_cli()
    context = click.Context(cli)
    found = cli.get_command(context, group)
    return isinstance(found, click.Group) and command in found.list_commands(context)


@every_document
def test_commands_exist(document: Path) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    for program, *arguments in commands(document):
        if program == "make":
            assert arguments[0] in targets[1].split()
        elif program == "batch-assets":
            parser().parse_args(arguments)
        elif program == "dg":
            assert dg_has(*arguments[:2])
        else:
            raise AssertionError(f"{document.name} shows {program}, which this test does not know")


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in _LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing in ([], ["docs/benchmarks.md"])  # written by `make bench`
