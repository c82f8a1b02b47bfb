"""A local server that speaks the providers' batch wires, for tests, demos and offline work.

It shares no code with the rest of the package: a shared codec would share its bug.
Importing this package costs nothing; the server is loaded when `Emulator` or `SpawnedEmulator` is first named.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch_assets.emulator.embedded import Emulator
    from batch_assets.emulator.spawned import SpawnedEmulator

__all__ = ["Emulator", "SpawnedEmulator"]


def __getattr__(name: str) -> Any:
    if name == "Emulator":
        from batch_assets.emulator.embedded import Emulator  # noqa: PLC0415 -- keeps the pytest plugin cheap

        return Emulator
    if name == "SpawnedEmulator":
        from batch_assets.emulator.spawned import SpawnedEmulator  # noqa: PLC0415 -- as above

        return SpawnedEmulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
