"""Vertex AI's wire: locations."""

import requests

from batch_assets.emulator import Emulator

HEADERS = {"authorization": "Bearer any"}


def test_locations_that_there_are(emulator: Emulator) -> None:
    def listed(location: str, **headers: str) -> requests.Response:
        url = f"{emulator.vertex_base_url}/v1beta1/projects/p/locations/{location}/batchPredictionJobs"
        return requests.get(url, headers=headers, timeout=10)

    for location in ("europe-west4", "us-central1", "asia-northeast3", "eu", "us", "global"):
        assert listed(location, **HEADERS).json() == {}
    for location in ("europe-west99", "europe", "us-central"):
        page = listed(location)  # nobody looks at the token
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "Error 404 (Not Found)" in page.text
    assert listed("eu").status_code == 401
