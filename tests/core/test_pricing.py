"""Money: exact per-result costs against genai-prices as the oracle, and never a price that is not one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.errors import ConfigError
from batch_assets.pricing import (
    ASSUMED_OUTPUT_TOKENS,
    Cost,
    Estimate,
    Rate,
    Rates,
    cost_pico_usd,
    resolve_rates,
    to_usd,
)

AT = datetime(2026, 11, 23, 3, tzinfo=UTC)
OWN = {"gpt-x": {"input": 0.1, "cached_input": 0.05, "output": 0.4, "standard_input": 0.2, "standard_output": 0.8}}

MODELS = [
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-5-mini-2025-08-07"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.4"),  # tiered by the request's input
    ("openai", "gpt-3.5-turbo-1106"),  # its batch price is published as equal
    ("anthropic", "claude-haiku-4-5"),
    ("anthropic", "claude-opus-5-5"),
    ("google", "gemini-2.5-pro"),  # tiered
    ("google", "gemini-3-flash-preview"),
    ("mistral", "mistral-small-2603"),
]


def tokens(*counts: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(counts, np.int64)


def known(rates: Rates, *arrays: Any, **keywords: Any) -> list[int]:
    cost = cost_pico_usd(rates, *arrays, **keywords)
    assert cost is not None
    assert cost.dtype == np.int64
    return [int(value) for value in cost]


usage = st.tuples(*[st.integers(0, 400_000) | st.sampled_from([199_999, 200_000, 200_001, 272_000, 272_001])] * 3)


@pytest.mark.parametrize(("vendor", "model"), MODELS)
@given(usages=st.lists(usage, min_size=1, max_size=4), shares=st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_costs_are_those_of_genai_prices(
    vendor: str, model: str, usages: list[tuple[int, int, int]], shares: tuple[int, int]
) -> None:
    rates = resolve_rates(vendor, model, AT)
    assert rates.rate_source == "published"
    rows = []
    for total, cached, output in usages:
        cached_part = min(total, cached) * shares[0] // 100
        written = (total - cached_part) * shares[1] // 100
        rows.append((total, cached_part, output, written, written // 3))
    total, cached, output, written, written_1h = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    for kind, context in (("batch", {"processing": "batch"}), ("standard", None)):
        ours = known(rates, total, cached, output, written, cache_write_1h_tokens=written_1h, kind=kind)
        for cost, row in zip(ours, rows, strict=True):
            asked = Usage(
                input_tokens=row[0],
                cache_read_tokens=row[1],
                output_tokens=row[2],
                cache_write_tokens=row[3],
                cache_write_1h_tokens=row[4],
            )
            oracle = calc_price(
                asked, model, provider_id=vendor, genai_request_timestamp=AT, price_context=context
            ).total_price
            assert to_usd(cost) == oracle


def test_the_rates_that_were_measured() -> None:
    for vendor, model, batch_in, batch_out, standard_in in (
        ("openai", "gpt-5", "0.625", "5", "1.25"),
        ("openai", "gpt-5-mini", "0.125", "1", "0.25"),
        ("anthropic", "claude-opus-4-8", "2.5", "12.5", "5"),
        ("mistral", "mistral-small-2603", "0.075", "0.3", "0.15"),
    ):
        rates = resolve_rates(vendor, model, AT)
        assert rates.batch is not None
        assert rates.standard is not None
        assert rates.batch.input.base == Decimal(batch_in) * 10**6
        assert rates.batch.output.base == Decimal(batch_out) * 10**6
        assert rates.standard.input.base == Decimal(standard_in) * 10**6


@pytest.mark.parametrize(
    ("vendor", "model", "at"),
    [
        ("google", "gemini-embedding-001", AT),
        ("azure", "gpt-5-mini", AT),
        ("deepseek", "deepseek-v4-flash", AT),
        ("openai", "gpt-5-mini", datetime(2026, 10, 13, 23, 59, tzinfo=UTC)),
    ],
)
def test_no_batch_rate_is_never_the_standard_rate(vendor: str, model: str, at: datetime) -> None:
    rates = resolve_rates(vendor, model, at)
    assert rates.standard is not None
    assert (rates.batch, rates.rate_source) == (None, "unknown")
    assert cost_pico_usd(rates, tokens(100), tokens(0), tokens(100)) is None
    assumed = resolve_rates(vendor, model, at, assumed_batch_discount=Decimal("0.5"))
    assert assumed.rate_source == "assumed"
    full = known(assumed, tokens(100), tokens(0), tokens(100), kind="standard")
    assert known(assumed, tokens(100), tokens(0), tokens(100)) == [full[0] // 2]


def test_an_unknown_model_has_no_price_at_all() -> None:
    for vendor, model in (("openai", "gpt-x"), ("nobody", "gpt-5-mini")):
        rates = resolve_rates(vendor, model, AT, assumed_batch_discount=Decimal("0.5"))
        assert (rates.batch, rates.standard, rates.rate_source) == (None, None, "unknown")
        cost = Cost.of(rates, tokens(5), tokens(0), tokens(7))
        assert (cost.usd, cost.standard_usd, cost.saved, cost.input_tokens) == (None, None, None, 5)
        estimate = Estimate.of(rates, input_tokens=tokens(5), upper_input_tokens=tokens(6), max_output_tokens=10)
        assert (estimate.usd, estimate.max_usd, estimate.bounded) == (None, None, True)


def test_an_assumed_discount_does_not_replace_a_published_rate() -> None:
    rates = resolve_rates("openai", "gpt-5-mini", AT, assumed_batch_discount=Decimal("0.9"))
    assert rates == resolve_rates("openai", "gpt-5-mini", AT)


def test_published_rates_do_not_depend_on_the_clock_zone() -> None:
    elsewhere = AT.astimezone(datetime.now().astimezone().tzinfo) + timedelta(0)
    assert resolve_rates("openai", "gpt-5-mini", elsewhere) == resolve_rates("openai", "gpt-5-mini", AT)
    with pytest.raises(ValueError, match="time zone"):
        resolve_rates("openai", "gpt-5-mini", AT.replace(tzinfo=None))


def test_the_users_own_table() -> None:
    rates = resolve_rates("openai", "gpt-x", AT, pricing=OWN)
    assert rates.rate_source == "override"
    assert known(rates, tokens(10), tokens(4), tokens(2)) == [6 * 100_000 + 4 * 50_000 + 2 * 400_000]
    assert known(rates, tokens(10), tokens(4), tokens(2), kind="standard") == [10 * 200_000 + 2 * 800_000]
    partly = resolve_rates("openai", "gpt-5-mini", AT, pricing={"gpt-5-mini": {"input": 1, "output": 0}})
    assert partly.rate_source == "override"
    assert partly.batch is not None
    assert partly.batch.cached_input == Rate(base=1_000_000)
    assert partly.standard == resolve_rates("openai", "gpt-5-mini", AT).standard


@pytest.mark.parametrize(
    ("pricing", "words"),
    [
        ([], ["pricing", "list"]),
        ({"m": 3}, ["`pricing`['m']", "USD per 1M tokens"]),
        ({"m": {"input": 1}}, ["`pricing`['m']", "'output'"]),
        ({"m": {"input": 1, "output": 1, "inputs": 1}}, ["`pricing`['m']", "'inputs'", "cached_input"]),
        ({"m": {"input": -1, "output": 1}}, ["`pricing`['m']['input']", "-1"]),
        ({"m": {"input": float("nan"), "output": 1}}, ["`pricing`['m']['input']"]),
        ({"m": {"input": "cheap", "output": 1}}, ["`pricing`['m']['input']", "cheap"]),
        ({"m": {"input": True, "output": 1}}, ["`pricing`['m']['input']"]),
        ({"m": {"input": 1, "output": 1, "standard_input": 1}}, ["'standard_output'"]),
    ],
)
def test_a_wrong_table_names_the_entry(pricing: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_rates("openai", "gpt-5-mini", AT, pricing=pricing)
    for word in words:
        assert word in str(caught.value)


def test_embeddings_need_no_price_of_an_output() -> None:
    own = {"m": {"input": 0.02, "standard_input": 0.04}}
    rates = resolve_rates("openai", "m", AT, pricing=own, embeddings=True)
    assert cost_pico_usd(rates, tokens(10), tokens(0), tokens(0)) == [200_000]
    assert cost_pico_usd(rates, tokens(10), tokens(0), tokens(0), kind="standard") == [400_000]


@pytest.mark.parametrize("discount", ["1", "-0.1", "NaN"])
def test_a_wrong_discount_is_named(discount: str) -> None:
    with pytest.raises(ConfigError, match="assumed_batch_discount"):
        resolve_rates("openai", "gpt-5-mini", AT, assumed_batch_discount=Decimal(discount))


def test_a_usage_that_does_not_add_up_is_priced_by_its_parts() -> None:
    rates = resolve_rates("openai", "gpt-x", AT, pricing=OWN)
    assert known(rates, tokens(1), tokens(4), tokens(0)) == [4 * 50_000]


def test_an_estimate_is_bounded_only_by_max_output_tokens() -> None:
    rates = resolve_rates("openai", "gpt-5-mini", AT)
    central, upper = tokens(100, 200), tokens(120, 240)
    bounded = Estimate.of(rates, input_tokens=central, upper_input_tokens=upper, max_output_tokens=50)
    assert bounded.bounded
    assert bounded.usd == Decimal("0.0000375") + Decimal("0.0001")
    assert bounded.max_usd == Decimal("0.000045") + Decimal("0.0001")
    assert bounded.standard_usd == 2 * bounded.usd
    assert (bounded.requests, bounded.input_tokens, bounded.output_tokens) == (2, 300, 100)
    known_mean = Estimate.of(
        rates, input_tokens=central, upper_input_tokens=upper, max_output_tokens=50, expected_output_tokens=10
    )
    assert known_mean.output_tokens == 20
    assert known_mean.max_usd == bounded.max_usd
    open_end = Estimate.of(rates, input_tokens=central, upper_input_tokens=upper)
    assert (open_end.bounded, open_end.max_usd, open_end.output_tokens) == (False, None, 2 * ASSUMED_OUTPUT_TOKENS)


def test_estimates_and_costs_add_up_by_parts() -> None:
    rates = resolve_rates("openai", "gpt-5.4", AT)
    inputs = tokens(1000, 300_000, 272_000, 272_001)
    whole = Estimate.of(rates, input_tokens=inputs, upper_input_tokens=inputs, max_output_tokens=9)
    parts = [
        Estimate.of(rates, input_tokens=half, upper_input_tokens=half, max_output_tokens=9)
        for half in (inputs[:1], inputs[1:])
    ]
    assert parts[0] + parts[1] == whole
    cost = Cost.of(rates, inputs, inputs // 2, inputs // 10)
    halves = [Cost.of(rates, half, half // 2, half // 10) for half in (inputs[:3], inputs[3:])]
    assert halves[0] + halves[1] == cost
    assert cost.usd is not None
    assert cost.standard_usd is not None
    assert cost.saved == cost.standard_usd - cost.usd
    assert cost.saved > 0
    unknown = Cost.of(resolve_rates("openai", "gpt-x", AT), inputs, inputs, inputs)
    assert (cost + unknown).usd is None
    assert (cost + unknown).rate_source == "unknown"


def test_a_batch_of_nothing_costs_nothing() -> None:
    rates = resolve_rates("openai", "gpt-5.4", AT)
    cost = Cost.of(rates, tokens(), tokens(), tokens())
    assert (cost.usd, cost.saved, cost.results) == (0, 0, 0)


def test_amounts_are_exact() -> None:
    assert to_usd(1) == Decimal("0.000000000001")
    assert to_usd(2**63 - 1) == Decimal("9223372.036854775807")
