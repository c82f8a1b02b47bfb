"""A provider that has to be driven: a host without a batch API, whose requests are executed one by one."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from batch_assets.errors import Blocked
from batch_assets.provider_contract.contract import SECRET, STAMP, Bench, Controls, texts
from batch_assets.provider_contract.media import MediaContract
from batch_assets.provider_contract.nights import Nights, NightsContract
from batch_assets.provider_contract.requests import RequestsContract
from batch_assets.provider_contract.results import ResultsContract
from batch_assets.providers.protocol import Driven
from batch_assets.records import BatchInfo, BatchPhase, Outcome

_CALL: dict[str, Any] = {"operation": "realtime"}
FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "requests that fail at first": [{"fault": "request_error", "times": 5, "status": 500}],
    "requests that fail twice": [{"fault": "request_error", "contains": "number 7", "times": 2, "status": 500}],
    "rate limits": [{"fault": "refused", "status": 429, "retry_after": 0.01, "after": 9, "times": 5, **_CALL}],
    "a host that is busy": [{"fault": "refused", "status": 503, "retry_after": 0.01, "times": 30, **_CALL}],
    "errors of the host": [{"fault": "refused", "status": 500, "times": 3, **_CALL}],
    "a proxy's page": [{"fault": "proxy_error", "times": 3, **_CALL}],
    "connections that are dropped": [{"fault": "drop", "after": 5, "times": 3, **_CALL}],
    "a key that is mended": [{"fault": "refused", "status": 401, **_CALL}],
    "no money for a while": [{"fault": "refused", "status": 402, "after": 20, **_CALL}],
}
_LONG_SECONDS = 3600
"""A pause that no call of `drive` waits for."""


class DrivenContract(RequestsContract, MediaContract, ResultsContract, NightsContract):
    """What applies of `ProviderContract` where the host has no batches, and what it means to be driven.

    `provide` gives each time a new object that works with the same store: another process. Pauses of the host are the
    emulator's fault `refused` at `realtime`.
    """

    answered_busy: ClassVar = (Outcome.SUCCEEDED, False)

    def test_it_is_driven(self, bench: Bench) -> None:
        assert isinstance(bench.provider, Driven)
        assert bench.provider.limits.realtime

    def test_nothing_is_executed_unless_it_is_driven(self, bench: Bench, emulator: Controls) -> None:
        batch_id = bench.send(texts(40))
        for batch in (bench.provider.batch(batch_id), *bench.listed()):
            assert (batch.batch_id, batch.stamp, batch.phase, batch.due) == (batch_id, STAMP, BatchPhase.RUNNING, True)
            assert (batch.total, batch.completed, batch.failed, batch.ended_at) == (40, 0, 0, None)
        assert bench.bill["requests"] == 0
        batch = bench.ended(batch_id)
        assert (batch.due, batch.note, batch.ending) == (False, None, None)
        assert (batch.total, batch.completed, batch.failed) == (40, 40, 0)
        assert batch.ended_at is not None
        assert batch.ended_at >= batch.created_at
        assert batch.result_files
        results = bench.results(batch)
        assert bench.results(self.provide(emulator, SECRET).batch(batch_id)) == results
        assert bench.bill["requests"] == len(results) == 40

    def test_a_pause_is_kept_by_every_process(self, bench: Bench, emulator: Controls) -> None:
        batch = self._paused(bench)
        executed = bench.bill["requests"]
        assert 12 <= executed < 40
        assert (batch.phase, batch.completed, batch.due) == (BatchPhase.RUNNING, executed, False)
        assert "until" in (batch.note or "")
        assert "429" in (batch.note or "")
        emulator.arm("refused", status=500, **_CALL)  # would spoil a call that is made all the same
        other = bench.send(texts(3))
        for provider in (bench.provider, self.provide(emulator, SECRET)):
            assert isinstance(provider, Driven)
            for batch_id in (batch.batch_id, other):
                provider.drive(batch_id, lambda: None)
                assert not provider.batch(batch_id).due
        assert bench.bill["requests"] == executed

    def test_cancel_keeps_what_was_executed(self, bench: Bench) -> None:
        batch = self._paused(bench)
        for _ in range(2):
            bench.provider.cancel(batch.batch_id)
            canceled = bench.provider.batch(batch.batch_id)
            assert (canceled.phase, canceled.completed, canceled.due) == (BatchPhase.ENDED, batch.completed, False)
        results = bench.results(canceled)
        done = [result for result in results if result.outcome is Outcome.SUCCEEDED]
        left = [result for result in results if result.outcome is not Outcome.SUCCEEDED]
        assert (len(done), len(results)) == (bench.bill["requests"], 40)
        assert {(result.outcome, result.curable) for result in left} == {(Outcome.CANCELED, False)}

    def test_a_wrong_key_is_told_and_what_was_sent_is_kept(self, bench: Bench, emulator: Controls) -> None:
        batch_id = bench.send(texts(3))
        wrong = self.provide(emulator, "sk-invalid-SECRET")
        assert isinstance(wrong, Driven)
        with pytest.raises(Blocked) as caught:
            wrong.drive(batch_id, lambda: None)
        batch = wrong.batch(batch_id)
        for text in (str(caught.value), batch.note or ""):
            assert "SECRET" not in text
            assert "401" in text
        assert not batch.due
        assert len(bench.results(bench.ended(batch_id))) == 3

    @pytest.mark.parametrize("name", FAULTS)
    def test_a_night_is_what_it_would_have_been(self, nights: Nights, name: str) -> None:
        for fault in FAULTS[name]:
            nights.bench.emulator.arm(**fault)
        self.check_a_night(nights)

    def _paused(self, bench: Bench) -> BatchInfo:
        """A batch of which a part is executed when the host wants a long pause."""
        bench.emulator.arm("refused", status=429, retry_after=_LONG_SECONDS, after=12, **_CALL)
        batch_id = bench.send(texts(40))
        assert isinstance(bench.provider, Driven)
        bench.provider.drive(batch_id, lambda: None)
        return bench.provider.batch(batch_id)
