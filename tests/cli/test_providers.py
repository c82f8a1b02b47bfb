"""--provider NAME: every provider that is registered, its settings, and one of somebody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from shell import Answer, Shell

from batch_assets.errors import ConfigError
from batch_assets.providers.registry import make_provider, provider_names

Here = Callable[[Sequence[str]], Answer]
GOOGLE = ["project=my-project", "location=europe-west4", "gcs_folder=gs://bucket/batches"]
ACME = 'differences={"vendor": "acme", "windows": ["3d"], "metadata": false, "max_requests": 2}'

# Name, model, settings with {} as the emulator's address, and what the emulator calls the provider.
EVERY: list[tuple[str, str, list[str], str]] = [
    ("openai", "gpt-5-mini", [], "openai"),
    ("anthropic", "claude-haiku-4-5", ["prompt_caching=true"], "anthropic"),
    ("gemini", "gemini-3-flash-preview", [], "gemini"),
    ("vertex", "gemini-3-flash-preview", GOOGLE, "vertex"),
    ("mistral", "mistral-small-2603", ["server_url={}/mistral"], "mistral"),
    ("azure", "gpt-5-mini", ["base_url={}/openai/v1"], "openai"),
    ("groq", "llama-3.1-8b-instant", ["base_url={}/openai/v1", "completion_window=48h"], "openai"),
    ("doubleword", "m", ["base_url={}/v1"], "openai"),
    ("gateway", "m", ["base_url={}/openai/v1", 'headers={"x-litellm-model":"m"}', ACME], "openai"),
    ("deepseek", "deepseek-v4-flash", ["base_url={}/v1"], "openai"),
    ("realtime", "m", ["dialect=gateway", "base_url={}/v1", "concurrency=3"], "openai"),
]


def with_options(options: Sequence[str], url: str = "") -> list[str]:
    return [word for option in options for word in ("--provider-option", option.replace("{}", url, 1))]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_OPENAI", "GROQ", "DOUBLEWORD", "DEEPSEEK"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-emulator")


def test_these_are_all() -> None:
    assert provider_names() == sorted(name for name, *_ in EVERY)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("provider", EVERY, ids=[name for name, *_ in EVERY])
def test_a_file_through_every_provider(shell: Shell, here: Here, provider: tuple[str, str, list[str], str]) -> None:
    name, model, options, emulated = provider
    shell.write_rows([{"id": number, "text": f"Card {number} is lost"} for number in range(5)])
    more = ["--provider", name, "--model", model, "--max-output-tokens", "50", "--output", "my_types:Intent"]
    more += [*with_options(options, shell.emulator.url), "--poll", "0.05", "--system", "Classify the message."]
    answer = here(shell.arguments(*more))
    assert answer.status == 0, answer.stderr
    table = pq.read_table(shell.folder / "out.parquet")
    assert table["batch_outcome"].to_pylist() == ["succeeded"] * 5
    assert shell.emulator.bill()[emulated]["requests"] == 5
    settings = ["--provider", name, *with_options(options, shell.emulator.url), "--store", "store"]
    assert here(["reconcile", *settings]).status == 0
    assert here(["gc", *settings]).status == 0
    assert here(["cancel", str(shell.folder / "out.parquet"), *settings]).status == 0


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("opnai", [], ["'opnai' is not known", "'anthropic', 'azure'"]),
        ("vertex", [], ["needs the setting 'gcs_folder'", "--provider-option gcs_folder=..."]),
        ("vertex", ["gcs_folder=gs://bucket"], ["`project`", "GOOGLE_CLOUD_PROJECT"]),
        ("vertex", ["gcs_folder=/tmp", "project=p", "location=eu"], ["'/tmp' as `gcs_folder`; write gs://bucket"]),
        ("azure", [], ["Azure OpenAI", "set `base_url`"]),
        ("gateway", ["base_url=somewhere"], ["'somewhere'", "https://host/v1"]),
        ("openai", ["location=eu"], ["has no setting 'location'", "'base_url'", "'organization'"]),
        ("openai", ["api_key=sk-x"], ["'api_key' is a secret", "environment variable"]),
        ("openai", ["base_url"], ["'base_url' is not of the form key=value"]),
        ("openai", ["max_retries=many"], ["'max_retries'", "'many'", "whole number"]),
        ("openai", ["timeout_seconds=0"], ["`timeout_seconds` is 0.0", "above 0"]),
        ("anthropic", ["prompt_caching=yes"], ["'prompt_caching'", "true or false"]),
        ("gateway", ["headers=x"], ["'headers'", "JSON object"]),
        ("gateway", ["differences=x"], ["'differences'", "JSON object"]),
        ("gateway", ["base_url=http://h", 'differences={"windows":["1"]}'], ["`differences.windows` is '1'", "`24h`"]),
        ("deepseek", ['differences={"key_variable":"sk-x"}'], ["`differences.key_variable`", "ACME_API_KEY"]),
        ("groq", ["completion_window=1h"], ["`completion_window`", "24h, 48h"]),
        ("realtime", ["dialect=acme"], ["'acme'", "deepseek"]),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    shell: Shell, here: Here, name: str, options: list[str], said: list[str]
) -> None:
    answer = here(shell.arguments("--provider", name, *with_options(options)))
    assert answer.status == 1
    (line,) = answer.stderr.splitlines()
    assert all(words in line for words in said), line
    assert "sk-" not in line
    assert shell.emulator.bill() == {}


def test_options_of_several_providers(shell: Shell, here: Here) -> None:
    assert here(shell.arguments("--poll", "0.05")).status == 0
    both = ["--provider", "openai", "--provider", "anthropic"]
    answer = here(["gc", "--store", "store", *both, *with_options(["max_retries=1"])])
    assert "belongs to one provider, and 2 are named" in answer.stderr
    assert here(["gc", "--store", "store", *both]).status == 0


def test_a_provider_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_batches.py").write_text(
        "class AcmeProvider:\n    def __init__(self, *, name: str, region: str | None = None, size: int = 1):\n"
        "        self.name, self.region, self.size = name, region, size\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[batch_assets.providers]\nacme = acme_batches:AcmeProvider\nbroken = acme_batches:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    made: Any = make_provider("acme", {"region": "eu", "size": "3"})
    assert (made.name, made.region, made.size) == ("acme", "eu", 3)
    assert "acme" in provider_names()
    with pytest.raises(ConfigError, match="'broken' cannot be loaded from acme_batches:Nothing"):
        make_provider("broken")
