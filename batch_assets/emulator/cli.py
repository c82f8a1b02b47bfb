"""The emulator from the command line."""

import argparse
import logging
import signal
import sys
from pathlib import Path
from types import FrameType

from batch_assets.emulator.addresses import VARIABLES, addresses
from batch_assets.emulator.server import PortInUseError, Server
from batch_assets.emulator.store import StateInUseError


def run(port: int = 0, state: Path | None = None, latency: float = 2.0, seed: int = 0) -> None:
    """Serve until SIGINT or SIGTERM; once the port is open prints its address, and what SDKs are pointed at it with.

    Exits with status 1 and one line on stderr when the port or the state folder is in use or cannot be written.
    """
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="emulator: %(message)s")
    try:
        server = Server(port=port, state=state, latency_seconds=latency, seed=seed)
    except (PortInUseError, StateInUseError, OSError, ValueError) as error:
        sys.stderr.write(f"emulator: {error}\n")
        raise SystemExit(1) from None
    sys.stdout.write(f"emulator listening on {server.url}\n")
    sys.stdout.write("".join(f"  {line}\n" for line in _addresses(server.url)))
    sys.stdout.flush()
    # uvicorn stops cleanly on both signals and raises them again: what it then finds is an exit with status 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    server.run()


def _addresses(url: str) -> list[str]:
    found = addresses(url)
    lines = [f"{variable}={found[name]}" for name, variable in VARIABLES.items()]
    return [*lines, f"Mistral: server_url={found['mistral']}", f"Azure, Groq: base_url={found['hosts']}"]


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m batch_assets.emulator",
        description="A local server that speaks the providers' batch APIs: offline, free, deterministic.",
    )
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1; 0 takes a free one and prints it")
    parser.add_argument("--state", type=Path, help="folder that keeps files, batches and the bill over restarts")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds that a batch takes (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of result lines (default 0)")
    given = parser.parse_args()
    run(port=given.port, state=given.state, latency=given.latency, seed=given.seed)
