"""Images and PDFs in Anthropic's requests: content blocks.

Facts (SDK types of 2.12, and others' notes on the page on vision, read 2026-11): JPEG, PNG, GIF and WEBP, in base64 or
by URL, of at most 5 MB, which the API counts in base64. Recalled from the page on PDFs, not read again: 32 MB with the
request, 100 pages, URLs of https:// alone. Uncertain: whether newer models take larger images. The tokens are assumed:
an image makes its width times height / 750, at most some 1,600; a page 1,500 to 3,000 for its text, and an image.
"""

from __future__ import annotations

from typing import Any

from batch_assets.parts import Media, MediaLimits, PartsForm

LIMITS = MediaLimits(
    name="Anthropic's batches",
    image_types=frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}),
    image_ways=frozenset({"https", "bytes"}),
    pdf_ways=frozenset({"https", "bytes"}),
    max_image_bytes=5 * 1024 * 1024 * 3 // 4,
    max_pdf_bytes=23_000_000,
    image_tokens=1_600,
    page_tokens=3_000,
    cures=dict.fromkeys(("image gs", "pdf gs"), "give a signed https:// URL, or bytes"),
)


def _block(media: Media) -> dict[str, Any]:
    source: dict[str, Any]
    if media.address is not None:
        source = {"type": "url", "url": media.address}
    else:
        source = {"type": "base64", "media_type": media.media_type, "data": media.data}
    return {"type": "image" if media.kind == "image" else "document", "source": source}


PARTS = PartsForm(limits=LIMITS, text=lambda text: {"type": "text", "text": text}, media=_block)
