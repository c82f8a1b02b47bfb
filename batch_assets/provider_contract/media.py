"""Images and PDFs in requests, in every way that the provider says it takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from batch_assets.fingerprint import Fingerprinter, custom_ids
from batch_assets.parts import PDF, Image, Media, Part, PartError, PartsForm, Pdf, read
from batch_assets.prompts import Prompt
from batch_assets.provider_contract.contract import SHARD, STAMP, Bench, Contract
from batch_assets.provider_contract.nights import Nights
from batch_assets.records import Outcome, Request

TEXT = 'What is it? \u2028 "Grüße" 🌍\n'
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x04\x00\x00\x00\x03\x00\x08\x02\x00\x00\x00"  # 1024 x 768 pixels
BYTES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "image/gif": b"GIF89a\x00\x04\x00\x03",
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "image/heic": b"\x00\x00\x00\x18ftypheic",
    "image/heif": b"\x00\x00\x00\x18ftypmif1",
    PDF: b"%PDF-1.4\n1 0 obj<</Type/Pages/Kids[2 0 R]/Count 1>>endobj\n2 0 obj<</Type/Page/Parent 1 0 R>>endobj\n%%EOF",
}


class MediaContract(Contract):
    """Of prompts that are not a text alone."""

    def test_all_that_the_provider_takes_is_taken(self, bench: Bench) -> None:
        form = _form(bench)
        contents = [form.content(parts)[0] for parts in every_part(form)]
        plain = bench.run([TEXT])[0].input_tokens
        results = run_contents(bench, contents)
        assert [(result.outcome, result.error) for result in results] == [(Outcome.SUCCEEDED, None)] * len(contents)
        assert all(result.input_tokens > plain + 50 for result in results)

    def test_a_line_with_parts_has_exactly_the_bytes_that_it_is_said_to_have(self, bench: Bench) -> None:
        form = _form(bench)
        envelope = bench.provider.envelope(bench.request(system="Be kind."))
        contents = [form.content(parts)[0] for parts in every_part(form)]
        for content, line in zip(contents, envelope.lines(["i" * 63] * len(contents), contents), strict=True):
            assert len(line) == envelope.overhead_bytes + len(content)
            assert line.count(b"\n") == 1
            assert orjson.loads(content) in list(_values_in(orjson.loads(line)))

    def test_what_the_provider_would_refuse_is_refused_before(self, bench: Bench) -> None:
        form = _form(bench)
        assert form.limits.image_types <= BYTES.keys()
        for kind, media_type in (("image", "image/png"), ("pdf", PDF)):
            for way in {"bytes", "https", "gs", "ftp"} - _ways(form, kind):
                with pytest.raises(PartError, match="take"):
                    read(_part(media_type, way), form.limits)
        if "bytes" in form.limits.image_ways:
            with pytest.raises(PartError, match=r"has [\d,]+ bytes"):
                read(Image(PNG + bytes(form.limits.max_image_bytes)), form.limits)
            with pytest.raises(PartError, match="image/tiff"):
                read(Image(b"II*\x00"), form.limits)

    def test_the_emulator_refuses_what_is_not_what_it_is_said_to_be(self, bench: Bench) -> None:
        form = _form(bench)
        if "bytes" not in form.limits.image_ways:
            pytest.skip("the provider takes no bytes")
        lie = Media(kind="image", media_type="image/png", address=None, data="bm90IGEgUE5H", tokens=0)
        foreign = Media(kind="image", media_type="image/x-icon", address=None, data="AAABAAEA", tokens=0)
        contents = [orjson.dumps(form.whole([form.text(TEXT), form.media(media)])) for media in (lie, foreign)]
        results = run_contents(bench, contents)
        assert [(result.outcome, result.curable) for result in results] == [(Outcome.ERRORED, False)] * 2
        assert bench.bill["requests"] == 0

    def test_a_night_with_images(self, bench: Bench, tmp_path: Path) -> None:
        form = _form(bench)
        way = "https" if "https" in form.limits.image_ways else "bytes"
        photo = _part("image/png", way).source
        texts = [f"number {i}" for i in range(12)]
        nights = Nights(bench, tmp_path)
        nights.prompt = Prompt(lambda row: [row["text"], Image("x" if row["id"] == 3 else photo)])
        bench.emulator.arm("request_error", times=5, status=500)
        landing, rows = nights.land(nights.plan(texts))
        assert landing.outcomes == {"succeeded": 11, "errored": 1}
        assert "do not take the image" in rows[3]["batch_error"]
        assert [row["text"] for row in rows] == texts
        assert (bench.bill["requests"], bench.bill["surplus"]) == (11, 0)
        assert landing.estimate.input_tokens > 11 * form.limits.image_tokens
        again, _ = nights.land(nights.plan(texts))
        assert bench.bill["requests"] == 11
        assert again.outcomes == landing.outcomes


def _form(bench: Bench) -> PartsForm:
    form = bench.provider.envelope(bench.request()).parts
    if form is None or not form.limits.image_ways:
        pytest.skip("the provider takes texts alone")
    return form


def _ways(form: PartsForm, kind: str) -> frozenset[str]:
    return form.limits.image_ways if kind == "image" else form.limits.pdf_ways


def _part(media_type: str, way: str) -> Image | Pdf:
    name = f"a b.{media_type.partition('/')[2]}"
    source = BYTES[media_type] if way == "bytes" else f"{way}://example.com/ü/{name}?x=1"
    return Pdf(source) if media_type == PDF else Image(source)


def every_part(form: PartsForm) -> list[list[Part]]:
    """A prompt for each type in each way, and one with all of them."""
    images = [_part(kind, way) for way in sorted(form.limits.image_ways) for kind in sorted(form.limits.image_types)]
    pdfs = [_part(PDF, way) for way in sorted(form.limits.pdf_ways)]
    return [*([TEXT, part] for part in (*images, *pdfs)), [images[0], TEXT, *pdfs, "and?", images[-1]]]


def run_contents(bench: Bench, contents: list[bytes]) -> list[Any]:
    """The results of a batch with these contents, in their order."""
    request: Request = bench.request()
    prints = Fingerprinter(request, vendor=bench.provider.vendor, host=bench.provider.host).of(contents)
    ids = list(custom_ids(SHARD, prints))
    lines = list(bench.provider.envelope(request).lines(ids, contents))
    batch_id = bench.provider.create(
        stamp=STAMP,
        request=request,
        input_file=bench.provider.upload(f"{SHARD}.jsonl", iter(lines)),
        lines=lambda: iter(lines),
        timeout_seconds=20,
    )
    found = {result.custom_id: result for result in bench.results(bench.ended(batch_id))}
    return [found[custom_id] for custom_id in ids]


def _values_in(value: Any) -> Any:
    yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _values_in(part)
