"""The parts of a message to OpenAI that are no text: images, files, audio.

Facts (OpenAPI document 2.3.0, guides on images and files, read 2026-11): images are PNG, JPEG, WEBP or GIF, by URL or
in base64; chat completions take PDFs in base64 with a file name or by id, the Responses API by URL, too.
"""

from typing import Any

from batch_assets.emulator import media

_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_DETAILS = ("auto", "low", "high", "original", None)
_AUDIO_TOKENS = 500
_KEYS = {
    "image_url": {"url", "detail"},
    "file": {"file_id", "file_data", "filename"},
    "input_image": {"type", "image_url", "file_id", "detail"},
    "input_file": {"type", "file_id", "file_data", "file_url", "filename", "detail"},
}
_PAGE_TOKENS = 1_500


class Invalid(Exception):
    """A single request is answered with status 400."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def part_tokens(part: dict[str, Any], param: str) -> int | None:
    """What a part costs that is no text; None if it is of no known type. Raises Invalid."""
    kind = part.get("type")
    if kind == "input_audio":
        return _AUDIO_TOKENS
    if kind in ("image_url", "file"):
        if unknown := sorted(part.keys() - {"type", kind}):
            raise Invalid(f"Unknown parameter: '{param}.{unknown[0]}'.", f"{param}.{unknown[0]}", "unknown_parameter")
        given, param = part.get(kind), f"{param}.{kind}"
    else:
        given = part
    if kind not in _KEYS:
        return None
    if not isinstance(given, dict):
        raise Invalid(f"Invalid type for '{param}': expected an object.", param, "invalid_type")
    if unknown := sorted(given.keys() - _KEYS[kind]):
        raise Invalid(f"Unknown parameter: '{param}.{unknown[0]}'.", f"{param}.{unknown[0]}", "unknown_parameter")
    if given.get("detail") not in _DETAILS:
        raise Invalid(f"Invalid value: '{given['detail']}'.", f"{param}.detail", "invalid_value")
    if given.get("file_id"):
        return _image_tokens(None) if kind == "input_image" else _PAGE_TOKENS * media.pages(None)
    return _image(given, param) if kind in ("image_url", "input_image") else _file(given, param)


def _image(given: dict[str, Any], param: str) -> int:
    name = "url" if "url" in given else "image_url"
    if given.get(name) is None:
        raise Invalid(f"Missing required parameter: '{param}.{name}'.", f"{param}.{name}", "missing_required_parameter")
    try:
        return _image_tokens(media.at_url(given[name], _IMAGES))
    except media.Unreadable as error:
        message = f"Invalid image: {error}. Supported formats are ['png', 'jpeg', 'gif', 'webp']."
        raise Invalid(message, f"{param}.{name}", "invalid_image_format") from None


def _file(given: dict[str, Any], param: str) -> int:
    if given.get("file_url") is not None:
        name, accepted = "file_url", []
    else:
        name, accepted = "file_data", [media.PDF]
    if given.get(name) is None or (name == "file_data" and not given.get("filename")):
        missing = name if given.get(name) is None else "filename"
        raise Invalid(f"Missing required parameter: '{param}.{missing}'.", param, "missing_required_parameter")
    try:
        schemes = ("http", "https") if name == "file_url" else ("data",)
        return _PAGE_TOKENS * media.pages(media.at_url(given[name], accepted, schemes))
    except media.Unreadable as error:
        raise Invalid(f"Invalid file: {error}.", f"{param}.{name}", "invalid_file") from None


def _image_tokens(data: bytes | None) -> int:
    """85 and 170 for each tile of 512 x 512 pixels, as one family of models counts."""
    return 85 + 170 * max(1, -(-media.pixels(data) // (512 * 512)))
