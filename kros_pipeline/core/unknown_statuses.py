"""Names the rows of a table whose status is unknown: another program, or a newer version, wrote them."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from .redaction import redact

_MAX_NAMES = 3


def name_unknown_statuses(table: str, counts: Mapping[str, int], known: type[StrEnum]) -> Iterator[str]:
    """Yield a sentence for rows without a status, or with an unknown one: nobody knows what became of their calls.

    `counts` has the rows of the table by status; None stands for no status.
    """
    unknown = {status: count for status, count in counts.items() if status not in set(known)}
    if unknown:
        names = sorted("none" if status is None else repr(redact(status)) for status in unknown)
        more = ", …" if len(names) > _MAX_NAMES else ""
        yield (
            f"{sum(unknown.values())} × row of `{table}` with no status that this version knows "
            f"({', '.join(names[:_MAX_NAMES])}{more}): materialize the whole day."
        )
