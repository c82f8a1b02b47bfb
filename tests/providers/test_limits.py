"""The limits as docs/providers.md has them: tests of the boundaries lower them, here and at the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch_assets.providers import anthropic, gemini, mistral, openai, vertex
from batch_assets.records import Limits

TABLE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text().splitlines()
MB = 1_000_000


@pytest.mark.parametrize(
    ("name", "limits", "requests", "most_bytes", "said"),
    [
        ("OpenAI", openai.LIMITS, 50_000, 200 * MB, "50,000, 200 MB"),
        ("Anthropic", anthropic.LIMITS, 100_000, 256 * MB, "100,000, 256 MB"),
        ("Gemini API", gemini.LIMITS, 50_000, 2_000 * MB, "50,000 (unpublished), 2 GB"),
        ("Vertex AI", vertex.LIMITS, 200_000, 1_000 * MB, "200,000, 1 GB"),
        ("Mistral", mistral.LIMITS, 100_000, 512 * MB, "100,000, 512 MB"),
    ],
)
def test_the_limits_are_those_of_the_documents(
    name: str, limits: Limits, requests: int, most_bytes: int, said: str
) -> None:
    (line,) = [line for line in TABLE if line.startswith(f"| {name} |")]
    assert said in line
    assert limits.max_requests == requests
    assert most_bytes - 100 < limits.max_bytes <= most_bytes  # Anthropic's frame is part of the body
