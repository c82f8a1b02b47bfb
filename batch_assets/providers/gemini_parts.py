"""Images and PDFs in Gemini's requests: `inlineData` and `fileData`, at the Developer API and at Vertex AI.

Facts (the Developer API's page on file input methods and Google's post on it of 2026-01, Vertex AI's page on documents;
read 2026-11): PDFs of at most 50 MB; the Developer API reads public and signed https:// URLs, in batches too, and an
object of Cloud Storage only after it has been registered as a file; Vertex AI reads gs:// URIs and public URLs.
Recalled: PNG, JPEG, WEBP, HEIC, HEIF; an address comes with its media type. Uncertain: the bound of an image (7 MB at
Vertex AI), http://. The tokens are assumed: 258 for an image, a tile of it or a page with Gemini 2.5, 1,120 for an
image and 560 for a page with Gemini 3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batch_assets.parts import Media, MediaLimits, PartsForm

GEMINI = MediaLimits(
    name="Gemini's batches",
    image_types=frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}),
    image_ways=frozenset({"https", "bytes"}),
    pdf_ways=frozenset({"https", "bytes"}),
    max_image_bytes=50_000_000,
    max_pdf_bytes=50_000_000,
    typed_addresses=True,
    image_tokens=1_120,
    page_tokens=560,
    cures=dict.fromkeys(("image gs", "pdf gs"), "give a signed https:// URL, or bytes; Vertex AI takes gs:// URIs"),
)
VERTEX = replace(
    GEMINI,
    name="Vertex AI's batches",
    image_ways=frozenset({"gs", "https", "bytes"}),
    pdf_ways=frozenset({"gs", "https", "bytes"}),
    max_image_bytes=7_000_000,
    cures={},
)


def _part(media: Media) -> dict[str, Any]:
    if media.address is not None:
        return {"fileData": {"mimeType": media.media_type, "fileUri": media.address}}
    return {"inlineData": {"mimeType": media.media_type, "data": media.data}}


def parts_form(limits: MediaLimits) -> PartsForm:
    """The parts of one `contents`."""
    return PartsForm(limits=limits, text=lambda text: {"text": text}, media=_part)
