"""The settings of the source: the account at KrosAI, and our share of its rate and quota."""

from dataclasses import dataclass, field

from .plans import Plan


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One account at KrosAI. Rates are requests a second, budgets requests a run; None is without limit.

    `connections` is how many downloads may be under way at once.
    """

    api_key: str = field(repr=False)
    auth: str
    base_url: str
    organization_id: str | None
    plan: Plan
    retention_days: int | None
    requests_per_second: float | None
    requests_per_run: int | None
    recording_hosts: frozenset[str]
    connections: int
