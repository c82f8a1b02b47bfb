"""The command line: `batch-assets COMMAND`.

`arguments.py` says what may be written; each command is a module with a function `execute`, which takes the parsed
arguments and returns the exit status. Errors meant for people become one line on stderr and status 1; wrong usage is
status 2.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from batch_assets.cli.arguments import parser
from batch_assets.cli.console import write_error
from batch_assets.errors import BatchAssetsError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = parser().parse_args(arguments)
    try:
        command = importlib.import_module(f"batch_assets.cli.{given.command}")  # only what is needed is loaded
        status: int = command.execute(given)
    except (BatchAssetsError, OSError) as error:
        write_error(str(error) or type(error).__name__)
        return 1
    except KeyboardInterrupt as interrupt:
        write_error(str(interrupt) or "interrupted")
        return INTERRUPTED
    return status
