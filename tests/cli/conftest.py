"""The command line, in processes of its own and in this one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from shell import Answer, Shell

from batch_assets.cli import main
from batch_assets.emulator import Emulator


@pytest.fixture
def shell(tmp_path: Path, batch_emulator: Emulator) -> Iterator[Shell]:
    """Its commands can be interrupted, also where a shell has started these tests with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a command inherits only that it is ignored
    yield Shell(tmp_path, batch_emulator)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def here(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str]], Answer]:
    """A command in this process, in the shell's folder: quicker, for errors."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.syspath_prepend(str(shell.folder))

    def call(arguments: Sequence[str]) -> Answer:
        sys.modules.pop("my_types", None)
        status = main(arguments)
        said = capsys.readouterr()
        return Answer(status=status, stdout=said.out, stderr=said.err)

    return call
