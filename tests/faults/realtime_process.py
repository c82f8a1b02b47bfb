"""A process that executes the requests of a realtime night, until it is killed: FOLDER URL of the emulator."""

import sys
from pathlib import Path

from nights_with_faults import Night
from subjects import SUBJECTS

from batch_assets.emulator.client import Controls


class Running(Controls):
    """An emulator of another process."""

    url = sys.argv[2]


if __name__ == "__main__":
    (subject,) = (subject for subject in SUBJECTS if subject.faults == "realtime")
    night = Night(subject, Running(), Path(sys.argv[1]))
    while True:
        night.tick()
