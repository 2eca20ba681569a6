"""The keys of a generated archive, in order, with their sizes and bodies: nothing of it is stored."""

from __future__ import annotations

import bisect
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial

from kros_pipeline.archive.object_store import VersionToken
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import DECISIONS, decision_key
from kros_pipeline_tests.support.years_days import AUDIO_BYTES, GeneratedDays

GENERATED = "generated"
GENERATED_TOKEN = VersionToken(f'"{GENERATED}"')


@dataclass(frozen=True)
class _Section:
    """The generated objects of one kind: their keys are `head`, a day, and one of the names of that day."""

    head: str
    names: Callable[[date], Sequence[str]]
    size: Callable[[str], int]
    body: Callable[[date, str], bytes]


class GeneratedObjects:
    """The objects of `days` days up to `last`: every one has the version `GENERATED`.

    `seconds_spent` is what making bodies took, which no store would take.
    """

    def __init__(self, days_made: GeneratedDays, days: int, last: date):
        self.days = [last - timedelta(days=days - 1 - number) for number in range(days)]
        self.days_made, self.seconds_spent = days_made, 0.0
        self._day_names = [day.isoformat() for day in self.days]
        self._is_day = set(self._day_names)
        self._lock = threading.Lock()

    @cached_property
    def _sections(self) -> list[_Section]:
        made = self.days_made
        sections = [
            _Section(
                "audio/dt=",
                lambda day: [f"/{call_id}.mp3" for call_id in made.ids(day)],
                lambda _: AUDIO_BYTES,
                lambda day, name: self._refuse(f"audio/dt={day}{name}"),
            ),
            _Section("audit/dt=", lambda _: ["/r-recordings.jsonl"], made.size_of, lambda day, _: made.audit(day)),
            _Section(
                "seals/dt=",
                lambda _: ["/manifest-sha256.txt", "/records.jsonl"],
                made.size_of,
                lambda day, name: made.records(day) if "records" in name else made.manifest(day),
            ),
            _Section(
                "state/extensions/dt=",
                lambda day: sorted(f"/{name}" for name in made.journal(day)),
                made.size_of,
                lambda day, name: made.journal(day)[name[1:]],
            ),
            _Section("state/listings/dt=", lambda _: [".json"], made.size_of_listing, lambda day, _: made.listing(day)),
            _Section(
                "state/tables/dt=",
                lambda _: [".json"],
                lambda _: len(made.checked_tables(self.days[0], GENERATED_TOKEN)),
                lambda day, _: made.checked_tables(day, GENERATED_TOKEN),
            ),
        ]
        for name in sorted(schemas.TABLES):
            size, body = partial(made.size_of_table, name), partial(made.table, name)
            sections.append(_Section(f"tables/{name}/dt=", lambda _: ["/part-0.parquet"], size, body))
        return sections

    @cached_property
    def _claims(self) -> dict[str, bytes]:
        """The claims of decisions, by their keys, sorted."""
        claims = {
            decision_key(decision): json.dumps({"call_id": call_id, "day": day.isoformat()}).encode()
            for day in self.days
            for decision, call_id in zip(self.days_made.decisions(day), self.days_made.flagged(day), strict=True)
        }
        return dict(sorted(claims.items()))

    def _refuse(self, key: str) -> bytes:
        raise AssertionError(f"{key}: audio has no body here")

    def below(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Yield key and size of everything that is generated below a prefix, in ascending order."""
        sections = [one for one in self._sections if one.head.startswith(prefix) or prefix.startswith(one.head)]
        before_claims = [one for one in sections if one.head < DECISIONS]
        for section in before_claims:
            yield from self._of_section(section, prefix, after)
        if DECISIONS.startswith(prefix) or prefix.startswith(DECISIONS):
            keys = list(self._claims)
            for key in itertools.islice(keys, bisect.bisect_left(keys, max(prefix, after)), None):
                if not key.startswith(prefix):
                    break
                if key > after:
                    yield key, len(self._claims[key])
        for section in sections[len(before_claims) :]:
            yield from self._of_section(section, prefix, after)

    def _of_section(self, section: _Section, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        named = prefix[len(section.head) :][:10]
        first = bisect.bisect_left(self._day_names, max(named, after.removeprefix(section.head)[:10]))
        if after and not after.startswith(section.head):
            first = bisect.bisect_left(self._day_names, named) if after < section.head else len(self.days)
        for day in itertools.islice(self.days, first, None):
            begin = f"{section.head}{day}"
            if not (begin.startswith(prefix) or prefix.startswith(begin)):
                break
            is_whole = begin.startswith(prefix) and begin > after
            for name in section.names(day):
                if is_whole or (f"{begin}{name}".startswith(prefix) and f"{begin}{name}" > after):
                    yield f"{begin}{name}", section.size(name)

    def body(self, key: str) -> bytes | None:
        """Return what is generated at a key; None where nothing is."""
        if key.startswith(DECISIONS):
            return self._claims.get(key)
        for section in self._sections:
            if key.startswith(section.head):
                day, name = key[len(section.head) :][:10], key[len(section.head) + 10 :]
                if day not in self._is_day or name not in section.names(date.fromisoformat(day)):
                    return None
                began_at = time.thread_time()
                body = section.body(date.fromisoformat(day), name)
                with self._lock:
                    self.seconds_spent += time.thread_time() - began_at
                return body
        return None

    def has(self, key: str) -> bool:
        """Return whether something is generated at a key."""
        return any(found == key for found, _ in itertools.islice(self.below(key), 1))

    def size_of(self, key: str) -> int:
        return next(size for found, size in self.below(key) if found == key)

    def folders(self, prefix: str) -> set[str]:
        """Return the names of the folders directly below a prefix."""
        names: set[str] = set()
        for section in self._sections if self.days else ():
            rest = section.head.removeprefix(prefix)
            if section.head.startswith(prefix) and "/" in rest:
                names.add(rest.split("/")[0])
            elif section.head.startswith(prefix) and section.names(self.days[0])[0].startswith("/"):
                names |= {f"{rest}{day}" for day in self._day_names}
        if prefix == DECISIONS:
            names |= {key.removeprefix(DECISIONS).split("/")[0] for key in self._claims}
        elif DECISIONS.startswith(prefix):
            names.add(DECISIONS.removeprefix(prefix).split("/")[0])
        return names

    def directly_below(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield key and size of what is generated directly below a folder, and no part of a day's folder."""
        for section in self._sections:
            if section.head.startswith(prefix) and "/" not in section.head.removeprefix(prefix):
                is_direct = bool(self.days) and not section.names(self.days[0])[0].startswith("/")
                for day in self.days if is_direct else ():
                    for name in section.names(day):
                        yield f"{section.head}{day}{name}", section.size(name)
