"""`make dev`: the example and the emulator under `dagster dev`; what it makes is kept in `.dev/`."""

from __future__ import annotations

import os
import sys

from batch_assets.errors import ConfigError
from batch_assets.samples import KEYS, chosen_provider
from examples.processes import LOOPBACK, ROOT, dagster_dev, emulator, free_port, interruptible, make_home, stop

UI_PORT = 3000
EMULATOR_PORT = 8765
"""Always the same: batches belong to an account, and an account is a host and its port."""
LATENCY_SECONDS = 20.0


def main() -> int:
    """Serve until Ctrl-C."""
    interruptible()
    folder = ROOT / ".dev"
    home = make_home(folder / "home")
    try:
        name = chosen_provider()
        port = free_port(int(os.environ.get("PORT") or UI_PORT))
        with emulator(state=folder / "emulator", port=EMULATOR_PORT, latency_seconds=LATENCY_SECONDS) as provider:
            where = f"itself ({KEYS[name]} is set)" if provider is None else f"in the emulator, {provider.url}"
            sys.stdout.write(f"Batches go to {name} {where}. UI: http://{LOOPBACK}:{port}\n")
            sys.stdout.flush()
            url = None if provider is None else provider.url
            process = dagster_dev(home, port=port, emulator_url=url, log=None)
            try:
                return process.wait()
            finally:
                stop(process)
    except KeyboardInterrupt:
        return 0
    except (ConfigError, RuntimeError) as error:
        sys.stderr.write(f"make dev: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
