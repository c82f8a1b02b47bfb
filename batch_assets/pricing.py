"""Money: the rates of a model, resolved once, and exact cost per result, vectorised.

Rates come from genai-prices, whose data is in its wheel. Money is counted in whole pico-USD (1e-12 USD): a rate of
$0.625 per 1M tokens is 625,000 pico-USD per token, so a result's cost is a sum of integer products, and int64 holds
9.2 million USD. Only text tokens are priced: no audio, image, search or storage fees. Pure: no network, `at` is an
argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from genai_prices import data_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from batch_assets.errors import ConfigError

Tokens: TypeAlias = npt.NDArray[np.int64]
RateSource: TypeAlias = Literal["published", "standard", "override", "assumed", "unknown"]
Kind: TypeAlias = Literal["batch", "standard"]

PICO = 10**12
"""pico-USD in one USD."""

ASSUMED_OUTPUT_TOKENS = 512
"""Expected output of one request when neither earlier nights nor max_output_tokens say anything. A guess, by us."""

_BATCH_CONTEXT = {"processing": "batch"}
_PICO_PER_TOKEN = 10**6  # USD per 1M tokens -> pico-USD per token
_TRUST: tuple[RateSource, ...] = ("unknown", "assumed", "override", "standard", "published")

# genai-prices' keys of what a RateCard holds.
_PUBLISHED_KEYS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Price of one token in pico-USD; of every token of a request, by the request's total input tokens."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()
    """(start, price), ascending: the price of requests with more than `start` input tokens."""

    def of(self, input_tokens: Tokens) -> Tokens | np.int64:
        """Return the price per token for requests of these sizes; one number where it does not depend on the size."""
        if not self.tiers:
            return np.int64(self.base)
        starts = np.array([start for start, _ in self.tiers], np.int64)
        prices = np.array([self.base, *(price for _, price in self.tiers)], np.int64)
        chosen: Tokens = prices[np.searchsorted(starts, input_tokens, side="left")]
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCard:
    """The rates of one model in one mode. Where a vendor has no own rate for cached tokens, they cost as input."""

    input: Rate
    cached_input: Rate
    cache_write: Rate
    cache_write_1h: Rate
    """Anthropic's long-lived cache writes."""
    output: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rates of one model at one time, batch and standard side by side; None where they are not known.

    A rate that is not known is never replaced by another one: costs are then None.
    """

    vendor: str
    model: str
    batch: RateCard | None
    standard: RateCard | None
    rate_source: RateSource
    """Where `batch` comes from: `published` by the vendor (as genai-prices has it), `override` (the user's own table),
    `assumed` (the standard rate less a stated discount), `standard` (nothing is batched: the standard rate as
    published), `unknown` (`batch` is None)."""

    def card(self, kind: Kind) -> RateCard | None:
        """Return the rates of one mode."""
        return self.batch if kind == "batch" else self.standard


def resolve_rates(
    vendor: str,
    model: str,
    at: datetime,
    *,
    pricing: Mapping[str, Mapping[str, float]] | None = None,
    assumed_batch_discount: Decimal | None = None,
    realtime: bool = False,
    embeddings: bool = False,
) -> Rates:
    """Return the rates of `model` (as the API is asked for it; dated names too) for a request made at `at` (aware).

    `pricing` is the user's own table, by exact model name, in USD per 1M tokens at BATCH price:
    `{"gpt-x": {"input": 0.1, "cached_input": 0.05, "output": 0.4}}`; `cached_input`, `cache_write`, `cache_write_1h`
    are optional, as are `standard_input`, ... of the same names. It comes before published rates.
    `assumed_batch_discount` (0.5 = half price) applies where the standard rate is known and no batch rate is; without
    it such a model has no batch rate. genai-prices itself would silently return the standard price there.
    `embeddings`: the model answers with vectors, and the table needs no `output` price of it.
    `realtime`: the requests are executed one by one, and what is called batch here is the standard rate.
    Raises ConfigError when the table or the discount is wrong.
    """
    if at.tzinfo is None:
        raise ValueError("at has no time zone")
    discount = _checked_discount(assumed_batch_discount)
    batch, standard = _published(vendor, model, at)
    source: RateSource = "unknown" if batch is None else "published"
    if realtime:
        batch, source = standard, "unknown" if standard is None else "standard"
    elif batch is None and standard is not None and discount is not None:
        batch, source = _discounted(standard, discount), "assumed"
    check_pricing(pricing, embeddings=embeddings)
    own = (pricing or {}).get(model)
    if own is not None:
        batch, source = _own_card(own, ""), "override"
        if "standard_input" in own:
            standard = _own_card(own, "standard_")
    return Rates(vendor=vendor, model=model, batch=batch, standard=standard, rate_source=source)


def check_pricing(pricing: Mapping[str, Mapping[str, float]] | None, *, embeddings: bool = False) -> None:
    """Raise ConfigError if the user's table of rates (see `resolve_rates`) is wrong anywhere; it names the entry.

    Only `embeddings` have no output: a chat model whose price was forgotten would be free, and its budget no bound.
    """
    if pricing is None:
        return
    if not isinstance(pricing, Mapping):
        raise ConfigError(f"`pricing` is a {type(pricing).__name__}; write a table: {{'model': {{'input': 0.1}}}}.")
    known = [prefix + name for prefix in ("", "standard_") for name in _PUBLISHED_KEYS]
    for model, entry in pricing.items():
        where = f"`pricing`[{model!r}]"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{where} is {entry!r}; write {{'input': 0.1, 'output': 0.4}} in USD per 1M tokens.")
        for key, value in entry.items():
            if key not in known:
                raise ConfigError(f"{where} has the unknown rate {key!r}; known are {', '.join(known)}.")
            _usd_per_million(value, f"{where}[{key!r}]")
        needed = {"input"} if embeddings else {"input", "output"}
        if any(key.startswith("standard_") for key in entry):
            needed |= {f"standard_{name}" for name in needed}
        for key in sorted(needed - entry.keys()):
            raise ConfigError(f"{where} has no {key!r}; write it in USD per 1M tokens (0 if it is free).")


def cost_pico_usd(
    rates: Rates,
    input_tokens: Tokens,
    cached_tokens: Tokens,
    output_tokens: Tokens,
    cache_write_tokens: Tokens | None = None,
    *,
    cache_write_1h_tokens: Tokens | None = None,
    kind: Kind = "batch",
) -> Tokens | None:
    """Return the exact cost of each result in pico-USD, or None if the rate is not known.

    All arrays have one entry per result. `input_tokens` is the TOTAL, cached and cache-write tokens included (for
    Anthropic, whose `input_tokens` is without them, add them up first); `cache_write_tokens` includes the 1h ones.
    Long-context rates depend on the request's input, so a sum of several results must not be passed as one.
    A usage whose parts exceed its total is priced by its parts.
    """
    card = rates.card(kind)
    if card is None:
        return None
    written = np.zeros_like(input_tokens) if cache_write_tokens is None else cache_write_tokens
    written_1h = np.zeros_like(input_tokens) if cache_write_1h_tokens is None else cache_write_1h_tokens
    plain = np.maximum(input_tokens - cached_tokens - written, 0)
    short_lived = np.maximum(written - written_1h, 0)
    cost: Tokens = (
        plain * card.input.of(input_tokens)
        + cached_tokens * card.cached_input.of(input_tokens)
        + short_lived * card.cache_write.of(input_tokens)
        + written_1h * card.cache_write_1h.of(input_tokens)
        + output_tokens * card.output.of(input_tokens)
    )
    return cost


def to_usd(pico_usd: int) -> Decimal:
    """Return an exact amount in USD."""
    return Decimal(int(pico_usd)).scaleb(-12)


# ---------------------------------------------------------------- before and after


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What requests are expected to cost, before they are sent. Add the estimates of the parts of a plan.

    USD amounts are None where no rate is known.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    """Expected: from earlier nights, else max_output_tokens, else ASSUMED_OUTPUT_TOKENS for each request."""
    usd: Decimal | None
    """Expected, at batch rates."""
    standard_usd: Decimal | None
    """The same tokens at standard rates."""
    max_usd: Decimal | None
    """What it can cost at most: the upper estimate of the input, and max_output_tokens used up by every request.
    None without max_output_tokens."""
    bounded: bool
    """Whether max_output_tokens bounds it; if not, `usd` is an estimate and nothing more."""
    rate_source: RateSource

    @classmethod
    def of(
        cls,
        rates: Rates,
        *,
        input_tokens: Tokens,
        upper_input_tokens: Tokens,
        expected_output_tokens: int | None = None,
        max_output_tokens: int | None = None,
    ) -> Self:
        """Estimate requests from their input tokens (central and upper, one entry per request).

        `expected_output_tokens` is the mean output per request where earlier results give one.
        """
        expected = expected_output_tokens
        if expected is None:
            expected = ASSUMED_OUTPUT_TOKENS if max_output_tokens is None else max_output_tokens
        elif max_output_tokens is not None:
            expected = min(expected, max_output_tokens)
        none = np.zeros_like(input_tokens)
        outputs = np.full_like(input_tokens, expected)
        bound = None
        if max_output_tokens is not None:
            bound = cost_pico_usd(rates, upper_input_tokens, none, np.full_like(input_tokens, max_output_tokens))
        return cls(
            requests=len(input_tokens),
            input_tokens=int(input_tokens.sum()),
            output_tokens=int(outputs.sum()),
            usd=_total(cost_pico_usd(rates, input_tokens, none, outputs)),
            standard_usd=_total(cost_pico_usd(rates, input_tokens, none, outputs, kind="standard")),
            max_usd=_total(bound),
            bounded=max_output_tokens is not None,
            rate_source=rates.rate_source,
        )

    def __add__(self, other: Estimate) -> Estimate:
        """Add the estimate of other requests."""
        return Estimate(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=_plus(self.usd, other.usd),
            standard_usd=_plus(self.standard_usd, other.standard_usd),
            max_usd=_plus(self.max_usd, other.max_usd),
            bounded=self.bounded and other.bounded,
            rate_source=_less_certain(self.rate_source, other.rate_source),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What results did cost, from their own usage. Add the costs of batches. USD is None where no rate is known."""

    results: int
    input_tokens: int
    """Total, cached ones included."""
    cached_tokens: int
    output_tokens: int
    usd: Decimal | None
    standard_usd: Decimal | None
    """The same usage at standard rates."""
    rate_source: RateSource

    @classmethod
    def of(
        cls,
        rates: Rates,
        input_tokens: Tokens,
        cached_tokens: Tokens,
        output_tokens: Tokens,
        cache_write_tokens: Tokens | None = None,
        *,
        cache_write_1h_tokens: Tokens | None = None,
    ) -> Self:
        """Sum the costs of results; the arrays are those of `cost_pico_usd`."""
        usage = (input_tokens, cached_tokens, output_tokens, cache_write_tokens)
        return cls(
            results=len(input_tokens),
            input_tokens=int(input_tokens.sum()),
            cached_tokens=int(cached_tokens.sum()),
            output_tokens=int(output_tokens.sum()),
            usd=_total(cost_pico_usd(rates, *usage, cache_write_1h_tokens=cache_write_1h_tokens)),
            standard_usd=_total(
                cost_pico_usd(rates, *usage, cache_write_1h_tokens=cache_write_1h_tokens, kind="standard")
            ),
            rate_source=rates.rate_source,
        )

    @property
    def saved(self) -> Decimal | None:
        """Standard price less cost, in USD; None where one of them is not known."""
        return None if self.usd is None or self.standard_usd is None else self.standard_usd - self.usd

    def __add__(self, other: Cost) -> Cost:
        """Add the cost of other results."""
        return Cost(
            results=self.results + other.results,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=_plus(self.usd, other.usd),
            standard_usd=_plus(self.standard_usd, other.standard_usd),
            rate_source=_less_certain(self.rate_source, other.rate_source),
        )


def _total(pico_usd: Tokens | None) -> Decimal | None:
    return None if pico_usd is None else to_usd(int(pico_usd.sum()))


def _plus(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    return None if left is None or right is None else left + right


def _less_certain(left: RateSource, right: RateSource) -> RateSource:
    return min(left, right, key=_TRUST.index)


# ---------------------------------------------------------------- where rates come from


def _published(vendor: str, model: str, at: datetime) -> tuple[RateCard | None, RateCard | None]:
    """Return (batch, standard) as genai-prices has them."""
    try:
        provider, found = data_snapshot.get_snapshot().find_provider_model(model, None, vendor, None)
    except LookupError:
        return None, None
    standard = _card(found.get_prices(at))
    # A model that is found through another vendor's list (Azure's through OpenAI's) has its variants from there: they
    # are not this vendor's prices. Variants have start dates, and before those the price is the standard one.
    own = any(found is listed for listed in provider.models)
    has_batch = own and any(
        variant.when == _BATCH_CONTEXT and (variant.constraint is None or variant.constraint.active(at))
        for variant in found.price_variants or ()
    )
    return (_card(found.get_prices(at, _BATCH_CONTEXT)) if has_batch else None), standard


def _card(prices: ModelPrice) -> RateCard | None:
    given: dict[str, Decimal | TieredPrices | None] = {
        name: getattr(prices, key) for name, key in _PUBLISHED_KEYS.items()
    }
    if given["input"] is None:  # priced by characters, pages, hours
        return None
    return _filled({name: _rate(price) for name, price in given.items() if price is not None})


def _filled(rates: Mapping[str, Rate]) -> RateCard:
    cache_write = rates.get("cache_write", rates["input"])
    return RateCard(
        input=rates["input"],
        cached_input=rates.get("cached_input", rates["input"]),
        cache_write=cache_write,
        cache_write_1h=rates.get("cache_write_1h", cache_write),
        output=rates.get("output", Rate(base=0)),  # embeddings have none
    )


def _rate(price: Decimal | TieredPrices) -> Rate:
    if isinstance(price, TieredPrices):
        return Rate(base=_pico(price.base), tiers=tuple((tier.start, _pico(tier.price)) for tier in price.tiers))
    return Rate(base=_pico(price))


def _pico(usd_per_million: Decimal) -> int:
    """Whole pico-USD per token: exact for every rate with at most six decimals, which all vendors' own rates are."""
    return int((usd_per_million * _PICO_PER_TOKEN).to_integral_value(ROUND_HALF_EVEN))


def _discounted(card: RateCard, discount: Decimal) -> RateCard:
    def less(rate: Rate) -> Rate:
        return Rate(base=part(rate.base), tiers=tuple((start, part(price)) for start, price in rate.tiers))

    def part(price: int) -> int:
        return int((price * (1 - discount)).to_integral_value(ROUND_HALF_EVEN))

    return RateCard(
        input=less(card.input),
        cached_input=less(card.cached_input),
        cache_write=less(card.cache_write),
        cache_write_1h=less(card.cache_write_1h),
        output=less(card.output),
    )


def _checked_discount(discount: Decimal | None) -> Decimal | None:
    if discount is not None and not (discount.is_finite() and 0 <= discount < 1):
        raise ConfigError(f"assumed_batch_discount is {discount}; write a share from 0 to below 1 (0.5 is half price).")
    return discount


def _usd_per_million(value: Any, where: str) -> Decimal:
    try:
        rate = Decimal(str(value)) if isinstance(value, int | float | Decimal | str) else None
    except InvalidOperation:
        rate = None
    if rate is None or isinstance(value, bool) or not rate.is_finite() or not 0 <= rate <= 1_000_000:
        raise ConfigError(f"{where} is {value!r}; write USD per 1M tokens, a number from 0 on.")
    return rate


def _own_card(entry: Mapping[str, float], prefix: str) -> RateCard:
    names = [name for name in _PUBLISHED_KEYS if prefix + name in entry]
    return _filled({name: Rate(base=_pico(_usd_per_million(entry[prefix + name], name))) for name in names})
