"""What adapters share about HTTP: how long a provider asks us to wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from batch_assets.emulator import Emulator
from batch_assets.errors import Transient
from batch_assets.providers.http import retry_after_seconds
from batch_assets.providers.registry import make_provider

SETTINGS = {
    "mistral": {"server_url": "{}/mistral"},
    "vertex": {"project": "p", "location": "eu", "gcs_folder": "gs://bucket/batches"},
}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "17"}, 17),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1764340000"}, 86_400),  # a time where seconds belong
        ({"retry-after": "inf"}, 86_400),
        # The provider's clock is years behind this machine's; what counts is the time between its two dates.
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Fri, 31 Dec 1999 23:58:29 GMT"}, 90),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Sat, 01 Jan 2000 00:00:09 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "today"}, None),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 99 Dec 1999 23:59:59 GMT"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "mistral", "vertex"])
def test_every_sdk_hands_on_a_date(emulator: Emulator, name: str) -> None:
    settings = {key: value.format(emulator.url) for key, value in SETTINGS.get(name, {}).items()}
    provider = make_provider(name, {**settings, "max_retries": "0"})
    emulator.arm("refused", operation="batches.list", status=429, retry_after=formatdate(time.time() + 60, usegmt=True))
    with pytest.raises(Transient) as caught:
        provider.newest()
    assert caught.value.retry_after_seconds == pytest.approx(60, abs=5)
