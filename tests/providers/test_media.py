"""Images and PDFs through the whole engine, beside what the contract asks of every provider."""

from __future__ import annotations

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pytest
from openai import OpenAI
from provider_world import Nights, spec_of
from wires import WIRES

from batch_assets.emulator import Emulator
from batch_assets.engine import plan_partition
from batch_assets.errors import PromptError
from batch_assets.parts import Image, Media, Pdf
from batch_assets.planner import BATCH_BYTES
from batch_assets.prompts import Prompt
from batch_assets.provider_contract.contract import Bench
from batch_assets.provider_contract.media import BYTES, PNG, run_contents
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.protocol import Provider
from batch_assets.providers.realtime import RealtimeProvider
from batch_assets.records import Outcome, Request
from batch_assets.schema import OutputSchema
from batch_assets.storage.local import LocalStore
from batch_assets.tables import stored_requests

PDF = BYTES["application/pdf"]
PDF_URL = "https://example.com/invoice.pdf"
READ = "Read {{ id }}: {{ scan | pdf }}"


@pytest.fixture
def openai(emulator: Emulator) -> OpenAIProvider:
    return OpenAIProvider(api_key="sk-test", base_url=emulator.openai_base_url, max_retries=0)


def test_responses_take_pdfs_by_address_and_images(openai: OpenAIProvider, emulator: Emulator, tmp_path: Path) -> None:
    spec = spec_of("gpt-5-mini", str, READ + "{{ photos | image }}", endpoint="responses", max_output_tokens=50)
    rows = pa.table({"id": ["a", "b"], "scan": [PDF_URL] * 2, "photos": [[PNG, BYTES["image/gif"]], []]})
    landing, table = Nights(tmp_path, openai).night(spec, rows)
    assert landing.outcomes == {"succeeded": 2}
    assert landing.input_tokens == emulator.bill()["openai"]["input_tokens"]
    assert table["batch_input_tokens"][0].as_py() > table["batch_input_tokens"][1].as_py() > 1000


def test_chat_completions_take_pdfs_as_bytes_alone(openai: OpenAIProvider, tmp_path: Path) -> None:
    spec = spec_of("gpt-5-mini", str, READ, max_output_tokens=50)
    small = pa.table({"id": ["a", "b"], "scan": pa.array([PDF, None], pa.binary())})
    landing, table = Nights(tmp_path / "bytes", openai).night(spec, small)
    assert landing.outcomes == {"succeeded": 1, "errored": 1}
    assert table["batch_error"][1].as_py() == "column 'scan' is null"
    landing, table = Nights(tmp_path / "url", openai).night(spec, pa.table({"id": ["a"], "scan": [PDF_URL]}))
    assert landing.outcomes == {"errored": 1}
    assert 'set endpoint="responses", which takes its address' in table["batch_error"][0].as_py()


def test_bytes_are_not_counted_as_text(openai: OpenAIProvider, tmp_path: Path) -> None:
    spec = spec_of("gpt-5-mini", str, "What is it? {{ photo | image }}", max_output_tokens=50, output_columns=("id",))
    rows = pa.table({"id": ["a", "b", "c"], "photo": [PNG + bytes(500_000)] * 2 + [PNG]})
    landing, table = Nights(tmp_path, openai).night(spec, rows)
    assert (landing.outcomes, landing.requests, landing.folded) == ({"succeeded": 3}, 2, 1)
    assert 3000 < landing.estimate.input_tokens < 3100
    assert table.column_names[:2] == ["id", "response"]


def test_a_budget_with_images_goes_by_an_estimate(openai: OpenAIProvider, tmp_path: Path) -> None:
    rows = pa.table({"id": ["a"], "photo": [PNG]})
    for prompt, words in (("What? {{ photo | image }}", "an estimated $"), ("What? {{ id }}", "at most $")):
        spec = spec_of("gpt-5-mini", str, prompt, max_output_tokens=50, max_cost_usd=Decimal("0.00000001"))
        plan = plan_partition(Nights(tmp_path, openai).ledger, openai, spec, words, rows.to_batches())
        assert words in (plan.refused or "")
    mini = openai.envelope(Request(model="gpt-4o-mini")).parts
    assert mini is not None
    assert mini.content([Image(PNG)])[1].tokens == 25_500


def test_large_images_are_never_together_in_memory(openai: OpenAIProvider, tmp_path: Path) -> None:
    spec = spec_of("gpt-5-mini", str, "What is it? {{ photo | image }}", max_output_tokens=50, output_columns=("id",))
    schema = pa.schema([("id", pa.int64()), ("photo", pa.binary())])
    rows = (
        pa.RecordBatch.from_pydict({"id": [place], "photo": [PNG + place.to_bytes(2_000_000)]}, schema=schema)
        for place in range(24)
    )
    ledger = Nights(tmp_path, openai).ledger
    plan = plan_partition(ledger, openai, spec, "d1", pa.RecordBatchReader.from_batches(schema, rows))
    (shard,) = plan.shards
    with stored_requests(ledger.store, shard.path) as batches:
        sizes = [(batch.num_rows, batch.nbytes) for batch in batches]
    assert sum(count for count, _ in sizes) == 24
    assert max(size for _, size in sizes) < 2 * BATCH_BYTES


def test_a_chat_endpoint_without_batches(emulator: Emulator, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "calls")
    provider = RealtimeProvider(store=store, dialect="openai", api_key="k", base_url=emulator.openai_base_url)
    spec = spec_of("gpt-5-mini", str, "What is it? {{ photo | image }}", max_output_tokens=50)
    rows = pa.table({"id": ["a"], "photo": ["https://example.com/photo?size=1"]})
    landing, _ = Nights(tmp_path, provider).night(spec, rows)
    assert landing.outcomes == {"succeeded": 1}


def test_an_endpoint_of_texts_refuses_before_the_rows_are_read(openai: OpenAIProvider, tmp_path: Path) -> None:
    spec = spec_of(
        "text-embedding-3-small", prompt="{{ photo | image }}", schema=OutputSchema.embedding(), endpoint="embeddings"
    )
    with pytest.raises(PromptError, match="a text alone"):
        Nights(tmp_path, openai).night(spec, pa.table({"id": ["a"], "photo": ["https://example.com/a.png"]}))


PNG_BASE64 = "iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAIAAAA="
ADDRESS = "https://e.com/a.png"


def _data(media_type: str, source: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(source).decode()}"


def _media(media_type: str | None = None, source: bytes | None = None, *, address: str | None = None) -> Media:
    data = None if source is None else base64.b64encode(source).decode()
    kind: Literal["image", "pdf"] = "pdf" if media_type == "application/pdf" else "image"
    return Media(kind=kind, media_type=media_type, address=address, data=data, tokens=0)


OPENAI_PDF = {"filename": "document.pdf", "file_data": _data("application/pdf", PDF)}
GOLDEN: dict[str, tuple[Provider, str, list[Any]]] = {
    "OpenAI, chat": (
        OpenAIProvider(api_key="k"),
        "chat",
        [
            {"type": "text", "text": "ü"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_BASE64}"}},
            {"type": "image_url", "image_url": {"url": ADDRESS}},
            {"type": "file", "file": OPENAI_PDF},
        ],
    ),
    "OpenAI, responses": (
        OpenAIProvider(api_key="k"),
        "responses",
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "ü"},
                    {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG_BASE64}"},
                    {"type": "input_image", "detail": "auto", "image_url": ADDRESS},
                    {"type": "input_file", **OPENAI_PDF},
                ],
            }
        ],
    ),
    "Anthropic": (
        AnthropicProvider(api_key="k"),
        "chat",
        [
            {"type": "text", "text": "ü"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_BASE64}},
            {"type": "image", "source": {"type": "url", "url": ADDRESS}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()},
            },
        ],
    ),
    "Mistral": (
        MistralProvider(api_key="k"),
        "chat",
        [
            {"type": "text", "text": "ü"},
            {"type": "image_url", "image_url": f"data:image/png;base64,{PNG_BASE64}"},
            {"type": "image_url", "image_url": ADDRESS},
            {"type": "document_url", "document_url": _data("application/pdf", PDF)},
        ],
    ),
    "Gemini": (
        GeminiProvider(api_key="k"),
        "chat",
        [
            {"text": "ü"},
            {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}},
            {"fileData": {"mimeType": "image/png", "fileUri": ADDRESS}},
            {"inlineData": {"mimeType": "application/pdf", "data": base64.b64encode(PDF).decode()}},
        ],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_native_form_is_part_of_a_fingerprint_and_stays_as_it_is(name: str) -> None:
    """Another form of the same image buys every cached request with images again."""
    provider, endpoint, expected = GOLDEN[name]
    form = provider.envelope(Request(model="m", endpoint=endpoint, max_output_tokens=5)).parts
    assert form is not None
    assert form.content(["ü", Image(PNG), Image(ADDRESS), Pdf(PDF)])[0] == orjson.dumps(expected)


@pytest.mark.parametrize(
    ("name", "media", "words"),
    [
        ("openai", _media(address="gs://b/a.png"), "has to begin with http"),
        ("anthropic", _media(address="http://e.com/a.png"), "has to begin with https"),
        ("anthropic", _media("image/png", PNG + bytes(4_000_000)), "exceeds 5 MB"),
        ("anthropic", _media("application/pdf", PDF + b"<</Type/Page>>" * 100), "maximum of 100 PDF pages"),
        ("mistral", _media("image/png", b"x"), "appears to be something else"),
        ("mistral", _media("application/pdf", PNG), "appears to be image/png"),
        ("gemini", _media("image/png", address="gs://b/a.png"), "unsupported fileData"),
        ("gemini", _media(address="https://e.com/a"), "must have a mimeType"),
        ("vertex", _media("image/gif", BYTES["image/gif"]), "Unsupported MIME type: image/gif"),
    ],
)
def test_the_emulator_refuses_what_the_provider_would(emulator: Emulator, name: str, media: Media, words: str) -> None:
    wire = WIRES[name]
    bench = Bench(provider=wire.provide(emulator), emulator=emulator, model=wire.model, emulated=name)
    form = bench.provider.envelope(bench.request()).parts
    assert form is not None
    (result,) = run_contents(bench, [orjson.dumps(form.whole([form.text("a"), form.media(media)]))])
    assert (result.outcome, result.curable) == (Outcome.ERRORED, False)
    assert words in (result.error or "")


def test_texts_are_rendered_as_ever(openai: OpenAIProvider) -> None:
    form = openai.envelope(Request(model="gpt-5-mini")).parts
    rows = pa.RecordBatch.from_pydict({"text": ["Grüße \u2028"]})
    assert Prompt("Hi {{ text }}").render(rows, form).contents.to_pylist() == [orjson.dumps("Hi Grüße \u2028")]


def test_the_emulators_chat_wants_what_openai_wants(emulator: Emulator) -> None:
    """Parts of another endpoint, unknown fields, and files without a name."""
    client = OpenAI(api_key="k", base_url=emulator.openai_base_url, max_retries=0)
    data = "data:application/pdf;base64,JVBERi0xLjQ="
    for part, words in (
        ({"type": "input_image", "image_url": "https://example.com/a.png"}, "input_image"),
        ({"type": "image_url", "image_url": {"url": "gs://b/a.png"}}, "http://"),
        ({"type": "image_url", "image_url": {"url": "https://e.com/a", "size": 3}}, "size"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "image/png"),
        ({"type": "file", "file": {"file_data": data}}, "filename"),
        ({"type": "file", "file": {"file_url": PDF_URL}}, "file_url"),
    ):
        with pytest.raises(Exception, match=words):
            client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": [part]}])
