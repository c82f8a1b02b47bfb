"""What only the Gemini API has: keys of lines, files with our own ids, batches read by GETs of our own."""

import sys
import tempfile
from typing import Any

import orjson
import pytest
from google import genai
from google.genai import types

from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError, Transient
from batch_assets.provider_contract.contract import SCHEMA, STAMP, Bench, texts
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.providers.gemini_lines import read_keyed
from batch_assets.records import Ending, Outcome


@pytest.fixture
def provider(batch_emulator: Emulator) -> GeminiProvider:
    """Address and key are those of the environment."""
    return GeminiProvider(max_retries=0, inline_bytes=0)


@pytest.fixture
def bench(provider: GeminiProvider, batch_emulator: Emulator) -> Bench:
    return Bench(provider=provider, emulator=batch_emulator, model="gemini-3-flash-preview", emulated="gemini")


def test_lines_are_what_the_sdk_types(bench: Bench) -> None:
    request = bench.request(system="Be kind.", json_schema=SCHEMA, params={"top_p": 0.5, "tools": []})
    (line,) = bench.lines(["text"], request)
    value = orjson.loads(line)
    assert value.keys() == {"key", "request"}
    assert value["key"] == bench.ids(["text"], request)[0]
    sent = value["request"]
    assert sent.keys() == {"tools", "systemInstruction", "contents", "generationConfig"}
    assert types.Content.model_validate(sent["contents"][0], strict=True).role == "user"
    config = types.GenerationConfig.model_validate(sent["generationConfig"])
    assert (config.top_p, config.response_mime_type) == (0.5, "application/json")


def test_answers_are_what_the_sdk_types(bench: Bench) -> None:
    batch = bench.ended(bench.send(texts(3)))
    for line in bench.provider.results(batch):
        response = types.GenerateContentResponse.model_validate(orjson.loads(line)["response"])
        assert response.text == bench.provider.parse(line).text


def test_what_the_sdk_sees_of_a_batch_and_what_we_do(bench: Bench, batch_emulator: Emulator) -> None:
    batch_emulator.arm("request_error", contains="number 3", status=500)
    batch = bench.ended(bench.send(texts(5)))
    assert (batch.total, batch.completed, batch.failed) == (5, 4, 1)
    assert batch.input_file is not None
    assert batch.input_file.startswith("files/ba-")
    with genai.Client(api_key="k", http_options={"api_version": "v1beta"}) as client:
        seen = client.batches.get(name=f"batches/{batch.batch_id}")
    assert (seen.display_name, seen.dest.file_name) == (STAMP, batch.result_files[0])
    assert seen.state == types.JobState.JOB_STATE_SUCCEEDED
    assert seen.completion_stats is None


@pytest.mark.parametrize("version", ["v1beta", "v1"])
def test_both_versions_of_the_api_are_emulated(batch_emulator: Emulator, version: str) -> None:
    with (
        genai.Client(api_key="k", http_options={"api_version": version}) as client,
        tempfile.TemporaryFile() as content,
    ):
        content.write(b'{"key":"a","request":{"contents":[{"parts":[{"text":"hello"}]}]}}\n')
        content.seek(0)
        file = client.files.upload(file=content, config={"name": "files/mine", "mime_type": "application/jsonl"})
        assert (file.name, file.size_bytes, file.state) == ("files/mine", 66, types.FileState.ACTIVE)
        made = client.batches.create(model="gemini-3-flash-preview", src=file.name, config={"display_name": "x"})
        while (batch := client.batches.get(name=made.name)).state != types.JobState.JOB_STATE_SUCCEEDED:
            pass
        assert orjson.loads(client.files.download(file=batch.dest.file_name))["key"] == "a"
        assert [each.name for each in client.batches.list()] == [batch.name]
        client.batches.delete(name=batch.name)
        assert list(client.batches.list()) == []


def test_many_pages(bench: Bench) -> None:
    made = [bench.send(texts(1)) for _ in range(103)]
    assert [batch.batch_id for batch in bench.listed()] == made[::-1]
    assert len(list(bench.provider.input_files())) == 103


def test_only_our_own_files_are_listed(bench: Bench) -> None:
    uploaded = bench.provider.upload("abcdefghij.jsonl", iter(bench.lines(texts(1))))
    with genai.Client(api_key="k") as client, tempfile.TemporaryFile() as content:
        content.write(b"theirs")
        content.seek(0)
        client.files.upload(file=content, config={"mime_type": "text/plain"})
    (file,) = bench.provider.input_files()
    assert (file.file_id, file.name) == (uploaded, "abcdefghij.jsonl")


def test_large_files_go_in_chunks(bench: Bench) -> None:
    results = bench.run([f"{number} {'word ' * 3_000_000}" for number in range(2)])
    assert {result.outcome for result in results} == {Outcome.SUCCEEDED}


@pytest.mark.parametrize(
    ("fault", "queue_full", "blocked"),
    [
        ({"fault": "token_limit_exceeded"}, True, False),
        ({"fault": "validation_failed", "code": "permission_denied"}, False, True),
        ({"fault": "validation_failed", "code": "internal"}, False, False),
    ],
)
def test_a_batch_that_fails_unexecuted(bench: Bench, fault: dict[str, Any], queue_full: bool, blocked: bool) -> None:
    bench.emulator.arm(**fault)
    batch = bench.ended(bench.send(texts(3)))
    assert batch.ending is Ending.FAILED
    assert (batch.queue_full, batch.blocked) == (queue_full, blocked)
    assert batch.error_message


def test_an_answer_that_is_none(bench: Bench, batch_emulator: Emulator) -> None:
    batch_emulator.arm("proxy_error", operation="batches.list", status=200)
    with pytest.raises(Transient, match="gave no answer"):
        bench.provider.newest()


@pytest.mark.parametrize("name", ["error", "status"])
def test_errors_under_either_name(name: str) -> None:
    line = orjson.dumps({"key": "x", name: {"code": 503, "message": "Busy.", "details": []}})
    result = read_keyed(line)
    assert (result.outcome, result.error, result.error_kind, result.curable) == (Outcome.ERRORED, "Busy.", "503", True)


def test_the_key_may_have_googles_other_name(batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    assert GeminiProvider().newest() is None


def test_without_the_sdk_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.genai", None)
    with pytest.raises(ConfigError, match=r'pip install "batch-assets\[gemini\]"'):
        GeminiProvider(api_key="k").check_credentials()
