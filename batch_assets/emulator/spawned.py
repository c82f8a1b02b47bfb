"""The emulator in a process of its own, which can be killed and started again."""

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from batch_assets.emulator.client import Controls

_READY = "emulator listening on "


class SpawnedEmulator(Controls):
    """Like `Emulator`, in a subprocess. `kill` is SIGKILL; `start` after it goes on, on the same port and state."""

    def __init__(
        self, state: Path | None = None, *, latency_seconds: float = 2.0, seed: int = 0, port: int = 0
    ) -> None:
        self._state = state
        self._latency_seconds = latency_seconds
        self._seed = seed
        self._port = port
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        if not self._port:
            raise RuntimeError("the emulator has not been started")
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the emulator is not running")
        return self._process.pid

    def start(self) -> Self:
        """Raises RuntimeError with what the process printed when it does not come up."""
        command = [sys.executable, "-m", "batch_assets.emulator"]
        command += ["--port", str(self._port), "--latency", str(self._latency_seconds), "--seed", str(self._seed)]
        if self._state is not None:
            command += ["--state", str(self._state)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- our own module
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.startswith(_READY):
            self._reap()
            raise RuntimeError(f"the emulator did not start: {line.strip() or 'see its error output'}")
        self._port = int(line.rpartition(":")[2])
        return self

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to save anything."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=30)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
