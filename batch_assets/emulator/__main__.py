"""`python -m batch_assets.emulator`."""

from batch_assets.emulator.cli import main

main()
