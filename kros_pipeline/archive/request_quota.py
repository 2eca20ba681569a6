"""Reserve the account's daily quota of API requests in the archive, so that runs on several machines share it.

There is one object for each UTC day, replaced under a condition. A run reserves a block before it sends the block's
first request, and gives the rest back at its end. So a run costs three requests to S3, and one more for each further
block. A run that is killed loses what is left of its block.

The day is this machine's: where two clocks differ at midnight, what is sent in between counts for either day.
"""

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO

from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from ..core.clock import Clock
from ..core.errors import ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists, TooManyRequests
from ..core.object_keys import quota_key
from ..core.request_quota import QuotaDay, QuotaRule, RunKind
from .json_objects import put_json
from .object_store import CREATE, ObjectStore, PutMode, Replace, VersionToken

_ATTEMPTS = 12
_LONGEST_PAUSE_SECONDS = 10.0
_LONGEST_UPDATE_SECONDS = 60.0  # afterwards there is no other try
_REFUSED_SECONDS = 60.0  # before a run that was refused looks again
_Change = Callable[[QuotaDay], QuotaDay]


@dataclass
class _Block:
    """What one run holds of one day's quota."""

    run: str
    day: date
    kind: RunKind
    reserved: int = 0
    sent: int = 0


class RequestQuota:
    """The quota of the account, for one run; threads share it. It is read when the first request is to be sent.

    `may_write` says whether the archive is known to be this account's: before that nothing is written, and requests are
    counted when it is.
    """

    def __init__(self, store: ObjectStore, rule: QuotaRule, clock: Clock, *, may_write: Callable[[], bool]):
        self._store, self._rule, self._clock, self._may_write = store, rule, clock, may_write
        self._archives: date | None = None
        self._lock = threading.Lock()
        self._block: _Block | None = None
        self._uncounted = 0
        self._is_day_done = False
        self._refused: tuple[float, str] | None = None
        self._known: tuple[date, QuotaDay, VersionToken | None] | None = None

    def take(self) -> None:
        """Count one request that is about to be sent. Raises `TooManyRequests` where the day's quota has none for it.

        It is raised, too, where the archive cannot say: nothing is sent that another run may have been promised.
        """
        with self._lock:
            if not self._may_write():
                self._uncounted += 1
                return
            block = self._block_of_today()
            if block.sent + self._uncounted >= block.reserved:
                self._reserve(block)
            block.sent += 1 + self._uncounted
            self._uncounted = 0

    def begin_day(self, day: date) -> None:
        """Note which day the run archives: older days leave a part of the quota for the newest one."""
        self._archives = day

    def on_day_done(self) -> None:
        """Note that the day has been reconciled: if it is the newest, older days may have what was kept for it."""
        self._is_day_done = True

    def give_back(self) -> None:
        """Give back what was reserved and not sent. Raises `ArchiveError` where it stays reserved."""
        with self._lock:
            block, self._block = self._block, None
            if block is not None:
                self._end(block)

    def _block_of_today(self) -> _Block:
        """Return the run's block. At midnight it begins another one; a clock that goes back changes nothing.

        The newest day is an older one from midnight on: the quota of the next day has its own newest day.
        """
        block, today = self._block, self._clock.now().date()
        if block is not None:
            today = max(today, block.day)
        kind = self._kind_on(today)
        if block is not None:
            if (block.day, block.kind) == (today, kind):
                return block
            self._block = None
            try:
                self._end(block)
            except ArchiveError as error:
                raise TooManyRequests(_describe(block.day, error)) from None
        self._block = _Block(uuid.uuid4().hex[:12], today, kind)
        return self._block

    def _kind_on(self, today: date) -> RunKind:
        if self._archives is None:
            return RunKind.OTHER
        return RunKind.NEWEST_DAY if self._archives >= today - timedelta(days=1) else RunKind.OLDER_DAY

    def _reserve(self, block: _Block) -> None:
        """Reserve the next requests of a block."""
        if self._refused is not None and self._clock.monotonic() < self._refused[0]:
            raise TooManyRequests(self._refused[1])
        wanted = block.sent + self._uncounted + self._rule.block

        def change(day: QuotaDay) -> QuotaDay:
            held = day.reserved.get(block.run)
            if held is not None and held.requests >= wanted:
                return day  # an earlier try wrote it, and its answer was lost
            present = held.requests if held is not None else 0
            available = self._rule.available(day, block.kind)
            more = wanted - present if available is None else min(wanted - present, available)
            return day.with_reservation(block.run, block.kind, present + more) if more else day

        try:
            day = self._update(block.day, change)
        except ArchiveError as error:
            raise self._refuse(_describe(block.day, error)) from None
        held = day.reserved.get(block.run)
        block.reserved = held.requests if held is not None else 0
        if block.sent + self._uncounted >= block.reserved:
            raise self._refuse(self._describe_refusal(block, day))

    def _refuse(self, sentence: str) -> TooManyRequests:
        """Return the error for this request and for those of the next minute: S3 is not asked for each of them."""
        self._refused = self._clock.monotonic() + _REFUSED_SECONDS, sentence
        return TooManyRequests(sentence)

    def _describe_refusal(self, block: _Block, day: QuotaDay) -> str:
        sentence = (
            f"{day.taken:,} of the {self._rule.requests_per_day:,} API requests of {block.day} (UTC) are sent or "
            "reserved"
        )
        if block.kind is RunKind.OLDER_DAY:
            sentence += f", and {self._rule.reserve(day):,} are kept for the newest day and for other jobs"
        return f"{sentence} (quota)"

    def _end(self, block: _Block) -> None:
        if not block.reserved:
            return
        is_done = self._is_day_done and block.kind is RunKind.NEWEST_DAY

        def change(day: QuotaDay) -> QuotaDay:
            if block.run not in day.reserved:
                return day  # an earlier try wrote it, and its answer was lost
            return day.with_ended_run(block.run, block.kind, block.sent, is_newest_day_done=is_done)

        self._update(block.day, change)

    def _update(self, day: date, change: _Change) -> QuotaDay:
        """Replace the object of a day by what `change` makes of it, and return that.

        Several runs may write at once: each reads again and tries again, after a random pause. Where S3 does not
        answer, one try may last minutes: after a minute there is no other.
        """
        ends_at = self._clock.monotonic() + _LONGEST_UPDATE_SECONDS
        retrying = Retrying(
            retry=retry_if_exception_type((ObjectExists, ObjectChanged, ArchiveUnavailable)),
            stop=lambda state: state.attempt_number >= _ATTEMPTS or self._clock.monotonic() >= ends_at,
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE_SECONDS),
            sleep=self._clock.sleep,
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                # What the last write left is tried first: mostly nobody else has written since. It refuses nothing.
                known, self._known = self._known, None
                present, version = known[1:] if known is not None and known[0] == day else self._read(day)
                value = change(present)
                if value == present and known is not None:
                    present, version = self._read(day)
                    value = change(present)
                if value != present:
                    mode: PutMode = Replace(version) if version is not None else CREATE
                    version = put_json(self._store, quota_key(day), value.to_json(), mode)
                self._known = day, value, version
        return value

    def _read(self, day: date) -> tuple[QuotaDay, VersionToken | None]:
        file = BytesIO()
        version = self._store.copy_into(quota_key(day), file)
        return (_parse(file.getvalue()) if version is not None else QuotaDay()), version


def read_requests_of_day(store: ObjectStore, day: date) -> int | None:
    """Return how many API requests were sent on a UTC day, or are reserved; None where no run has taken any."""
    body = store.read(quota_key(day))
    return _parse(body).taken if body is not None else None


def _describe(day: date, error: ArchiveError) -> str:
    return f"no API request of {day} (UTC) can be reserved: {error} (quota)"


def _parse(body: bytes) -> QuotaDay:
    """Parse a stored object. One that cannot be read is replaced: it counts requests, and no call depends on it."""
    try:
        return QuotaDay.from_json(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return QuotaDay()
