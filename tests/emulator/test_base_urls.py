"""Each official SDK works against one `batch-assets emulator` process by what that process prints."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import anthropic
import openai
import pytest
from google import genai
from google.cloud import storage
from google.oauth2.credentials import Credentials
from mistralai.client import Mistral

COMMAND = [sys.executable, "-m", "batch_assets.cli", "emulator", "--latency", "0"]
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")


@pytest.fixture
def printed() -> Iterator[list[str]]:
    """The lines of a process that serves."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [process.stdout.readline().strip() for _ in range(8)]
        process.terminate()


def test_each_sdk_by_its_address_alone(printed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, *lines = printed
    assert first.startswith("emulator listening on http://127.0.0.1:")
    variables = dict(line.split("=", 1) for line in lines if line.split("=")[0].isupper())
    for name, value in {**variables, **dict.fromkeys(KEYS, "any")}.items():
        monkeypatch.setenv(name, value)
    assert len(variables) == 5
    others = {line.split(": ")[0]: line.split("=", 1)[1] for line in lines if ": " in line}
    with openai.OpenAI() as client:
        assert client.batches.list().data == []
    with openai.OpenAI(base_url=others["Azure, Groq"]) as client:
        assert client.batches.list().data == []
    with anthropic.Anthropic() as client_of_claude:
        assert client_of_claude.messages.batches.list().data == []
    with genai.Client() as client_of_gemini:
        assert list(client_of_gemini.batches.list()) == []
    token = Credentials(token="any")  # its SDK knows no anonymous ones
    with genai.Client(vertexai=True, project="p", location="eu", credentials=token) as client_of_vertex:
        assert list(client_of_vertex.batches.list()) == []
    with storage.Client(project="p") as bucket:
        assert list(bucket.list_blobs("bucket")) == []
    with Mistral(api_key="any", server_url=others["Mistral"]) as client_of_mistral:
        assert client_of_mistral.batch.jobs.list().data in ([], None)
