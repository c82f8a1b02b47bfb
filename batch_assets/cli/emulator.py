"""`batch-assets emulator`: serve the local emulator until interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.emulator import cli

if TYPE_CHECKING:
    import argparse


def execute(given: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    cli.run(port=given.port, state=given.state, latency=given.latency, seed=given.seed)
    return 0
