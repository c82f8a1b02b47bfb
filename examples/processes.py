"""The processes around `definitions.py`: the emulator, where no key is set, and `dagster dev`."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from batch_assets.emulator import SpawnedEmulator
from batch_assets.samples import emulator_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
DEFINITIONS = ROOT / "definitions.py"
EMULATOR_URL = "BATCH_ASSETS_EMULATOR_URL"
LOOPBACK = "127.0.0.1"

_DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
"""
_STOP_SECONDS = 20


def make_home(home: Path) -> Path:
    """A folder as DAGSTER_HOME; what is in it stays."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_DAGSTER_YAML)
    return home


@contextmanager
def emulator(*, state: Path, port: int, latency_seconds: float) -> Iterator[SpawnedEmulator | None]:
    """The emulator, for the length of the block; none where the provider itself is asked. Raises RuntimeError."""
    if emulator_url() is None:
        yield None
        return
    with SpawnedEmulator(state, latency_seconds=latency_seconds, port=port) as running:
        yield running


def dagster_dev(home: Path, *, port: int, emulator_url: str | None, log: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start `dagster dev`: code server, webserver and daemons, in a process group of its own. `stop` ends it."""
    environment: dict[str, str] = {**os.environ, "DAGSTER_HOME": str(home)}
    if emulator_url is not None:
        environment[EMULATOR_URL] = emulator_url
    command = [_beside_python("dagster"), "dev", "-f", str(DEFINITIONS), "-h", LOOPBACK, "-p", str(port)]
    return subprocess.Popen(  # noqa: S603  # our own environment's command
        command, cwd=ROOT, env=_with_path(environment), stdout=log, stderr=log, start_new_session=True
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group: asked first, then killed."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=_STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def interruptible() -> None:
    """SIGTERM and SIGINT end this process like Ctrl-C, also where a shell has started it with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def free_port(wanted: int = 0) -> int:
    """A port of 127.0.0.1 that nobody has now: the wanted one, or any. Raises RuntimeError if that one is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise RuntimeError(f"port {wanted} of {LOOPBACK} cannot be had ({error.strerror}); name another") from error
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """The folder, emptied, and for this process alone. Raises RuntimeError if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "lock"
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another process is at work in {folder}; let it end first") from None
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != lock:
                entry.unlink()
        yield folder


def _beside_python(command: str) -> str:
    beside = Path(sys.executable).with_name(command)
    return str(beside) if beside.exists() else command


def _with_path(environment: Mapping[str, str]) -> dict[str, str]:
    """`dagster dev` starts `dagster-webserver` by its name."""
    folder = str(Path(sys.executable).parent)
    return {**environment, "PATH": f"{folder}{os.pathsep}{environment.get('PATH', '')}"}
