"""Limits of a list that pass for counts: a `total` that says at most 10,000, an offset behind which no rows come.

A limit is the same for every window. Where two windows show different ones, it is no limit: the totals are wrong, and
smaller windows would prove nothing.
"""

from dataclasses import dataclass

_USUAL_LIMITS = 500  # and its multiples


@dataclass
class ListLimits:
    """What the readings so far show: how many rows a window shows at most, and what `total` says at most."""

    rows: int | None = None
    total: int | None = None
    are_refuted: bool = False

    def compare(self, total: int | None, row_count: int, *, page_limit: int) -> None:
        """Learn from a window whose total and distinct rows disagree. No limit is smaller than a page."""
        if total is None or total == row_count:
            return
        self.are_refuted = self.are_refuted or min(total, row_count) < page_limit
        if row_count < total:
            self.are_refuted = self.are_refuted or self.rows not in (None, row_count)
            self.rows = row_count
        else:
            self.are_refuted = self.are_refuted or self.total not in (None, total)
            self.total = total

    def is_beyond(self, total: int | None, max_rows: int) -> bool:
        """Return whether a window of this total has to be split before it is read."""
        if total is None:
            return False
        return total > min(max_rows, self.rows or max_rows) or (self.total is not None and total >= self.total)


def may_be_a_limit(total: int | None) -> bool:
    """Return whether a total looks like a limit: a multiple of 500, or a power of two that is not less."""
    if total is None or total < _USUAL_LIMITS:
        return False
    return total % _USUAL_LIMITS == 0 or total & (total - 1) == 0
