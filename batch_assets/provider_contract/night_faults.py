"""Nights in which calls and batches of a batch API fail: the table and the bill are those of a night without faults."""

from __future__ import annotations

from typing import Any

import pytest

from batch_assets.provider_contract.nights import Nights, NightsContract

FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "requests that fail at first": [{"fault": "request_error", "times": 5, "status": 500}],
    "requests that fail twice": [{"fault": "request_error", "contains": "number 7", "times": 2, "status": 503}],
    "expired with a part of the results": [{"fault": "expired", "fraction": 0.3}],
    "expired twice": [{"fault": "expired", "fraction": 0.3, "times": 2}],
    "results cut off": [{"fault": "cut", "after_bytes": 3000, "times": 2}],
    "results truncated": [{"fault": "truncated"}],
    "results empty": [{"fault": "empty"}],
    "results dropped": [{"fault": "dropped_lines", "count": 3}],
    "results duplicated": [{"fault": "duplicated_lines", "count": 3}],
    "results garbled": [{"fault": "garbled_lines", "count": 3}],
    "results of others": [{"fault": "foreign_lines", "count": 3}],
    "list fails": [{"fault": "refused", "operation": "batches.list", "status": 500, "times": 3}],
    "list is dropped": [{"fault": "drop", "operation": "batches.list", "after": 1, "times": 2}],
    "create full": [{"fault": "refused", "operation": "batches.create", "status": 429, "retry_after": 0, "times": 2}],
    "create forbidden at first": [{"fault": "refused", "operation": "batches.create", "status": 403}],
    "create dropped": [{"fault": "drop", "operation": "batches.create"}],
    "create answered with 500": [{"fault": "refused", "operation": "batches.create", "status": 500}],
    "create accepted, then dropped": [{"fault": "accept_then_drop", "operation": "batches.create"}],
    "create accepted, then 500": [{"fault": "accept_then_error", "operation": "batches.create"}],
    "create accepted, then a proxy's page": [{"fault": "accept_then_proxy_error", "operation": "batches.create"}],
    "create accepted, then dropped, list lags": [
        {"fault": "accept_then_drop", "operation": "batches.create"},
        {"fault": "list_lag", "lists": 1},
    ],
}


class NightFaultsContract(NightsContract):
    """Of nights in which something fails."""

    @pytest.mark.parametrize("name", FAULTS)
    def test_a_night_is_what_it_would_have_been(self, nights: Nights, name: str) -> None:
        for fault in FAULTS[name]:
            nights.bench.emulator.arm(**fault)
        self.check_a_night(nights)

    def test_a_batch_that_somebody_canceled(self, nights: Nights) -> None:
        nights.bench.emulator.arm("canceled", fraction=0.5)
        landing, rows = nights.land(nights.plan([f"text {i}" for i in range(20)]))
        assert landing.outcomes == {"succeeded": 10, "canceled": 10}
        assert len(rows) == 20
        assert nights.bench.bill["requests"] == 10
