"""Results, as the engine sees them through a provider, whoever executes the requests."""

from __future__ import annotations

import orjson
import pytest

from batch_assets.provider_contract.contract import SCHEMA, Bench, Contract, texts
from batch_assets.records import Outcome


class ResultsContract(Contract):
    """Of what came out."""

    def test_every_request_has_one_result(self, bench: Bench) -> None:
        results = bench.run(texts(50))
        assert {result.outcome for result in results} == {Outcome.SUCCEEDED}
        for place, result in enumerate(results):
            assert result.text is not None
            assert f"number {place}:" in result.text
            assert result.model == self.model
            assert result.finish_reason == "stop"
            assert result.input_tokens > result.cached_tokens >= 0
            assert result.output_tokens > 0
        bill = bench.bill
        assert (bill["requests"], bill["distinct"]) == (50, 50)
        assert bill["input_tokens"] == sum(result.input_tokens for result in results)
        assert bill["output_tokens"] == sum(result.output_tokens for result in results)

    def test_the_list_is_newest_first(self, bench: Bench) -> None:
        assert bench.provider.newest() is None
        assert bench.listed() == []
        made = [bench.send(texts(1)) for _ in range(5)]
        assert bench.provider.newest() == made[-1]
        assert [batch.batch_id for batch in bench.listed()] == made[::-1]

    def test_answers_fit_the_schema(self, bench: Bench) -> None:
        request = bench.request(json_schema=SCHEMA, system="Classify.")
        for result in bench.run(texts(5), request):
            value = orjson.loads(result.text or "")
            assert value.keys() == {"intent", "note"}
            assert value["intent"] in SCHEMA["properties"]["intent"]["enum"]

    def test_mixed_outcomes(self, bench: Bench) -> None:
        arm = bench.emulator.arm
        arm("request_error", contains="<later>", status=500)
        arm("request_error", contains="<busy>", status=429)
        arm("request_error", contains="<never>", status=400, message="The request is wrong.")
        arm("refusal", contains="<refused>")
        arm("content_filter", contains="<filtered>")
        arm("length", contains="<long>")
        names = ["later", "busy", "never", "refused", "filtered", "long", "fine"]
        given = [f"<{name}> a text of many words that is long enough to be cut" for name in names]
        found = dict(zip(names, bench.run(given), strict=True))
        outcomes = {name: (result.outcome, result.curable) for name, result in found.items()}
        assert outcomes == {
            "later": (Outcome.ERRORED, True),
            "busy": self.answered_busy,
            "never": (Outcome.ERRORED, False),
            "refused": (Outcome.ERRORED, False),
            "filtered": (Outcome.ERRORED, False),
            "long": (Outcome.SUCCEEDED, False),
            "fine": (Outcome.SUCCEEDED, False),
        }
        assert found["long"].finish_reason == "length"
        assert "The request is wrong." in (found["never"].error or "")
        for result in found.values():
            assert bool(result.error) == bool(result.error_kind) == (result.outcome is Outcome.ERRORED)

    def test_an_input_file_can_be_deleted_twice(self, bench: Bench) -> None:
        input_file = bench.provider.upload("a.jsonl", iter(bench.lines(texts(1))))
        assert (input_file is not None) == bench.provider.limits.input_files
        if input_file is not None:
            bench.provider.delete_input(input_file)
            bench.provider.delete_input(input_file)

    def test_lines_that_cannot_be_read(self, bench: Bench) -> None:
        for line in (b"", b"{", b"[]", b"null", b'"x"', b'{"custom_id":7}', b"\xff\xfe", b"<html></html>"):
            assert bench.provider.custom_id(line) is None
            with pytest.raises(ValueError, match=r"."):
                bench.provider.parse(line)
