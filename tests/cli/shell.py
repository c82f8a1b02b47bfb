"""The command line in a process of its own, in a folder with rows and types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_assets.emulator import Emulator

TYPES = '''
from typing import Literal

from pydantic import BaseModel, Field


class Intent(BaseModel):
    """What a customer wants."""

    intent: Literal["card_arrival", "lost_card", "refund"]
    urgency: int = Field(ge=1, le=5)


class Loose(BaseModel):
    anything: dict[str, int]


NOT_A_TYPE = 3
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Shell:
    """A folder with `rows.jsonl`, `my_types.py`, and the commands that are started there."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        (folder / "my_types.py").write_text(TYPES)
        self.write_rows([{"id": f"q{number}", "text": f"My card {number} is lost\nüß 😀"} for number in range(30)])

    def write_rows(self, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> Path:
        file = self.folder / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    def arguments(self, *extra: str, source: str = "rows.jsonl", output: str = "out.parquet") -> list[str]:
        """A `run` that works; later options win over those here."""
        fixed = ["--provider", "openai", "--model", "gpt-5-mini", "--prompt", "Classify: {{ text }}"]
        return ["run", source, output, *fixed, "--row-key", "id", "--store", "store", "--poll", "0.5", *extra]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "batch_assets.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=pipe, text=True, env=os.environ.copy())

    def call(self, *arguments: str) -> Answer:
        """A command in a process of its own."""
        return self.end(self.start(*arguments))

    @staticmethod
    def end(process: subprocess.Popen[str]) -> Answer:
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()  # one that hangs must not disturb the tests after this one
        return Answer(status=process.returncode, stdout=stdout, stderr=stderr)

    @property
    def billed(self) -> int:
        bill = self.emulator.bill()
        return int(bill["openai"]["requests"]) if bill else 0
