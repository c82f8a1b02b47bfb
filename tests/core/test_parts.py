"""Images and PDFs in prompts: in templates and functions, what they are found to be, what a provider does not take."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pytest

from batch_assets.errors import PromptError
from batch_assets.parts import URL_PAGES, Image, MediaLimits, PartError, PartsForm, Pdf, read
from batch_assets.prompts import Prompt

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
PDF = b"%PDF-1.7\n1 0 obj << /Type /Pages /Count 2 >>\n<< /Type /Page >>\n<</Type/Page/Parent 1 0 R>>"
URL = "https://example.com/photo.PNG?signature=SECRET"

LIMITS = MediaLimits(
    name="Acme's batches",
    image_types=frozenset({"image/png", "image/jpeg"}),
    image_ways=frozenset({"https", "bytes"}),
    pdf_ways=frozenset({"https", "bytes"}),
    max_image_bytes=100,
    max_pdf_bytes=200,
    image_tokens=1000,
    page_tokens=500,
    cures={"image gs": "sign it"},
)
FORM = PartsForm(
    limits=LIMITS, text=lambda text: {"t": text}, media=lambda media: {media.kind: media.url, "type": media.media_type}
)


def render(prompt: Prompt, form: PartsForm | None = FORM, **columns: Any) -> tuple[list[Any], dict[int, str]]:
    rendered = prompt.render(pa.RecordBatch.from_pydict(columns), form)
    return [
        None if content is None else orjson.loads(content) for content in rendered.contents.to_pylist()
    ], rendered.errors


def as_data(source: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(source).decode()}"


def test_a_template_puts_images_and_pdfs_where_they_stand() -> None:
    prompt = Prompt("Compare {{ photo | image }} with\n{{ scan|pdf }}\nfor {{ name }}.")
    contents, errors = render(prompt, photo=[URL], scan=[PDF], name=["Ann"])
    assert errors == {}
    assert contents == [
        [
            {"t": "Compare "},
            {"image": URL, "type": "image/png"},
            {"t": " with\n"},
            {"pdf": as_data(PDF, "application/pdf"), "type": "application/pdf"},
            {"t": "\nfor Ann."},
        ]
    ]
    assert prompt.kinds == ("image", "pdf")
    assert prompt.columns == {"photo", "scan", "name"}


def test_a_list_gives_one_part_for_each_and_none_when_it_is_empty() -> None:
    contents, errors = render(Prompt("Read:{{ pages | image }}"), pages=[[PNG, JPEG], []])
    assert errors == {}
    assert contents == [
        [
            {"t": "Read:"},
            {"image": as_data(PNG, "image/png"), "type": "image/png"},
            {"image": as_data(JPEG, "image/jpeg"), "type": "image/jpeg"},
        ],
        "Read:",
    ]


def test_an_image_needs_no_text_and_may_stand_twice_or_under_a_condition() -> None:
    template = "{% set p = photo and photo | image('image/jpeg') %}{% if p %}{{ p }}{{ p }}{% else %}none{% endif %}"
    contents, errors = render(Prompt(template), photo=["https://e.com/1", None])
    assert errors == {}
    assert contents == [[{"image": "https://e.com/1", "type": "image/jpeg"}] * 2, "none"]


@pytest.mark.parametrize(
    ("template", "value", "words"),
    [
        ("a {{ photo | image }}", None, "column 'photo' is null"),
        ("a {{ photo | image | upper }}", URL, "no other filter behind"),
        ("a {% set p = photo | image %}", URL, "did not reach its text"),
        ("a {{ photo | image }}", ["https://e.com/a.png", None], "given a value null"),
        ("a {{ photo | pdf }}", PNG, "are image/png"),
        ("a {{ photo | pdf }}", b"hello", "do not begin like one"),
        ("a {{ photo | image }}", PDF, "is a PDF; give it as one"),
        ("a {{ photo | image }}", b"what is it", "is not known"),
        ("a {{ photo | image }}", b"", "is empty"),
        ("a {{ photo | image }}", b"GIF89a....", "is image/gif, and Acme's batches take jpeg, png"),
        ("a {{ photo | image }}", "https://e.com/a.tiff", "is image/tiff"),
        ("a {{ photo | image('image/jpeg') }}", PNG, "is image/png, not image/jpeg"),
        ("a {{ photo | image }}", PNG + bytes(80), "has 108 bytes, and Acme's batches take 100"),
        ("a {{ photo | image }}", "gs://b/a.png", "sign it"),
        (
            "a {{ photo | image }}",
            "data:image/png;base64,!!",
            "of a data: URL of 24 characters does not read",
        ),
        ("a {{ photo | image }}", "data:,abc", "does not read `data:TYPE;base64,"),
        ("a {{ photo | pdf }}", as_data(PNG, "application/pdf"), "are image/png"),
        ("a {{ photo | image }}", "ftp://e.com/a.png", "give one of: bytes, https://"),
        ("a {{ photo | image }}", "a.png", "give one of: bytes, https://"),
    ],
)
def test_what_cannot_be_sent_is_an_error_of_its_row(template: str, value: Any, words: str) -> None:
    contents, errors = render(Prompt(template), photo=[value])
    assert contents == [None]
    assert words in errors[0]


def test_errors_show_no_signature_and_no_bytes() -> None:
    with pytest.raises(PartError) as caught:
        read(Image(URL.replace("PNG", "bmp").replace("//", "//user:SECRET@")), LIMITS)
    assert "https://example.com/photo.bmp'" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert repr(Image(URL)) == "Image('https://example.com/photo.PNG')"
    assert repr(Pdf(PDF)) == f"Pdf(of {len(PDF)} bytes)"


def test_a_function_returns_texts_images_and_pdfs() -> None:
    def prompt(row: dict[str, Any]) -> Any:
        return row["answer"] if isinstance(row["answer"], str) else picked[row["answer"]](row)

    picked: list[Callable[[dict[str, Any]], Any]] = [
        lambda _: ["What is it?", Image(PNG)],
        lambda _: Pdf("https://e.com/x"),
        lambda _: ["a", 3],
        lambda _: [],
        lambda _: ["a", " "],
        lambda _: ["a \ud800"],
    ]
    contents, errors = render(Prompt(prompt), answer=[0, 1, 2, 3, 4, 5])
    assert contents[0] == [{"t": "What is it?"}, {"image": as_data(PNG, "image/png"), "type": "image/png"}]
    assert contents[1] == [{"pdf": "https://e.com/x", "type": "application/pdf"}]
    assert contents[2:] == [None] * 4
    assert "a list with a int in it" in errors[2]
    assert "empty" in errors[3]
    assert "empty text" in errors[4]
    assert "surrogate" in errors[5]


def test_what_a_provider_does_not_take_at_all_is_known_before_there_are_rows() -> None:
    prompt = Prompt("{{ scan | pdf }}")
    prompt.check_parts(FORM)
    with pytest.raises(PromptError, match="a text alone"):
        prompt.check_parts(None)
    without = replace(FORM, limits=replace(LIMITS, pdf_ways=frozenset()))
    with pytest.raises(PromptError, match=r"uses `\| pdf`, and Acme's batches take no PDFs"):
        prompt.check_parts(without)
    assert "no PDFs" in render(Prompt(lambda _: [Pdf(PDF)]), without, id=[1])[1][0]
    assert "a text alone" in render(Prompt(lambda _: [Pdf(PDF)]), None, id=[1])[1][0]
    Prompt("{{ scan }}").check_parts(None)


def test_the_weight_of_a_content_is_its_text_and_what_is_assumed_of_the_rest() -> None:
    content, weight = FORM.content(["Grüße", Image(PNG), Pdf(PDF), Pdf("https://e.com/x.pdf")])
    assert len(content) - weight.bytes == len("Grüße".encode())
    assert weight.tokens == 1000 + 2 * 500 + URL_PAGES * 500
    assert read(Pdf(b"%PDF-1.7 /Count 7 /Count 3"), LIMITS).tokens == 7 * 500


def test_a_data_url_holds_the_bytes() -> None:
    plain, as_url = (render(Prompt("{{ p | image }}"), p=[given])[0] for given in (PNG, as_data(PNG, "image/x-any")))
    assert plain == as_url == [[{"image": as_data(PNG, "image/png"), "type": "image/png"}]]


def test_a_row_cannot_write_a_mark_into_a_text() -> None:
    contents, errors = render(Prompt("{{ text }}{{ photo | image }}"), text=["[part x 0]"], photo=[URL])
    assert errors == {}
    assert contents == [[{"t": "[part x 0]"}, {"image": URL, "type": "image/png"}]]
