"""What S3 costs: list prices, by which the month's cost is estimated. Update them here, with their date."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from .days import start_of


@dataclass(frozen=True, slots=True)
class S3Prices:
    """List prices in US dollars. `storage_tiers` are pairs of the first byte of a tier, and the price of a GB-month."""

    as_of: date
    source: str
    storage_tiers: tuple[tuple[int, float], ...]
    per_1000_writes: float  # PUT, COPY, POST and LIST
    per_1000_reads: float  # GET, HEAD and all others


_GB = 1024**3
_TB = 1024**4
LIST_PRICES = S3Prices(
    as_of=date(2025, 1, 1),
    source="aws.amazon.com/s3/pricing, S3 Standard, us-east-1",
    storage_tiers=((0, 0.023), (50 * _TB, 0.022), (500 * _TB, 0.021)),
    per_1000_writes=0.005,
    per_1000_reads=0.0004,
)


def estimate_month_usd(
    stored_bytes: int, writes: int, reads: int, now: datetime, prices: S3Prices = LIST_PRICES
) -> float:
    """Estimate what S3 costs in the month of `now`: the bytes that are stored now, for the whole month, and requests.

    `writes` and `reads` are those of the month until now; the rest of the month is expected to have as many an hour.
    The first day of a month counts as a whole day, so that one busy hour is not multiplied by 700.
    """
    month_starts_at = start_of(now.date().replace(day=1))
    month = _start_of_next_month(now.date()) - month_starts_at
    elapsed = max(now - month_starts_at, timedelta(days=1))
    requests_usd = writes / 1000 * prices.per_1000_writes + reads / 1000 * prices.per_1000_reads
    return _storage_usd(stored_bytes, prices) + requests_usd * (month / elapsed)


def _start_of_next_month(day: date) -> datetime:
    return start_of((day.replace(day=28) + timedelta(days=4)).replace(day=1))


def _storage_usd(stored_bytes: int, prices: S3Prices) -> float:
    """Return the price of a month's storage: each tier has a price of its own."""
    ends = [begin for begin, _ in prices.storage_tiers[1:]] + [max(stored_bytes, prices.storage_tiers[-1][0])]
    return sum(
        max(0, min(stored_bytes, end) - begin) / _GB * price
        for (begin, price), end in zip(prices.storage_tiers, ends, strict=True)
    )
