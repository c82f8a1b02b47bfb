"""What a provider sends and what it refuses to send: lines, limits, settings, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from batch_assets.errors import ConfigError, SchemaError
from batch_assets.fingerprint import CUSTOM_ID_LENGTH
from batch_assets.provider_contract.contract import SCHEMA, SECRET, Bench, Contract, Controls
from batch_assets.providers.protocol import Provider
from batch_assets.records import Outcome

ODD_TEXTS = [
    'quotes " and \\ backslashes \\" }]',
    "lines\nof\r\ntext\twith tabs",
    "separators \u2028 \u2029 \u0085 \x0b \x7f \ufeff",
    "emoji 🙂 👩‍👩‍👧 and 中文 العربية",
    "control \x00 \x01 \x1f characters",
    '{"json": [1, 2, {"custom_id": "x"}]}',
    "   blanks around   ",
    "x" * 200_000,
]


class RequestsContract(Contract):
    """Of lines and settings."""

    def test_it_is_a_provider(self, provider: Provider) -> None:
        assert isinstance(provider, Provider)
        assert provider.limits.max_requests > 0
        assert provider.limits.max_request_bytes <= provider.limits.max_bytes
        assert provider.listing_grace_seconds > 0

    def test_the_account_is_safe_as_a_folder_and_outlives_a_key(self, provider: Provider, emulator: Controls) -> None:
        assert re.fullmatch(r"[\w+.:@=-]{1,150}", provider.account)
        assert self.provide(emulator, f"{SECRET}-rotated").account == provider.account

    def test_the_secret_is_never_shown(self, provider: Provider) -> None:
        assert SECRET not in repr(provider)
        assert SECRET not in str(provider)
        assert SECRET not in provider.account
        assert SECRET not in str(provider.console_url("batch_1"))

    def test_without_a_key_the_setting_is_named(self, emulator: Controls, monkeypatch: pytest.MonkeyPatch) -> None:
        if self.key_variable is None:
            pytest.skip("the provider's key is not an environment variable")
        monkeypatch.delenv(self.key_variable, raising=False)
        with pytest.raises(ConfigError, match=self.key_variable):
            self.provide(emulator, "").check_credentials()
        self.provide(emulator, SECRET).check_credentials()

    @pytest.mark.parametrize("schema", [None, SCHEMA])
    def test_a_line_has_exactly_the_bytes_that_it_is_said_to_have(
        self, bench: Bench, schema: dict[str, Any] | None
    ) -> None:
        request = bench.request(json_schema=schema, system='Be "kind".\n', params=dict(self.taken_params))
        overhead_bytes = bench.provider.envelope(request).overhead_bytes
        for text, line in zip(ODD_TEXTS, bench.lines(ODD_TEXTS, request), strict=True):
            assert len(line) == overhead_bytes + len(orjson.dumps(text))

    def test_a_line_is_one_line_with_the_text_and_the_id_as_they_are(self, bench: Bench) -> None:
        for text, line in zip(ODD_TEXTS, bench.lines(ODD_TEXTS), strict=True):
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
            value = orjson.loads(line)
            assert text in _texts_in(value)
            assert any(len(each) == CUSTOM_ID_LENGTH for each in _texts_in(value))

    def test_odd_texts_are_answered(self, bench: Bench) -> None:
        request = bench.request(params=dict(self.taken_params))
        bench.provider.check(request)
        results = bench.run(ODD_TEXTS, request)
        assert {result.outcome for result in results} == {Outcome.SUCCEEDED}
        emoji = results[3].text
        assert emoji is not None
        assert "🙂" in emoji
        assert "中文" in emoji

    def test_what_the_batch_api_refuses_is_refused_before(self, bench: Bench) -> None:
        bench.provider.check(bench.request(system="Be kind.", json_schema=SCHEMA))
        for name, value in self.refused_params.items():
            with pytest.raises(ConfigError, match=name):
                bench.provider.check(bench.request(params={name: value}))

    def test_schemas_that_the_provider_does_not_take_are_refused_before(self, bench: Bench) -> None:
        for schema in self.refused_schemas:
            with pytest.raises(SchemaError):
                bench.provider.check(bench.request(json_schema=dict(schema)))

    def test_other_parameters_are_passed_on_as_they_are(self, bench: Bench) -> None:
        value = {"nested": ["ü", 1.5, None, True]}
        (line,) = bench.lines(["text"], bench.request(params={"x_contract": value}))
        assert value in list(_objects_in(orjson.loads(line)))


def _texts_in(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts_in(part)]


def _objects_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _objects_in(part)
