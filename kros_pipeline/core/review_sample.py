"""Draw a sample of calls to review: seeded, stratified, and the same again for the same seed and calls.

Each call gets a place by the hash of seed and key, so that the sample depends on no random number generator and no
order. A call that comes or goes changes its own stratum only, and there little.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable

MAX_SAMPLE = 500


def draw_sample(calls: Iterable[tuple[str, str]], size: int, seed: str) -> list[str]:
    """Return the keys of the sample, in the order in which they are to be reviewed.

    `calls` are pairs of key and stratum. Each stratum gets its share of `size`, by largest remainder, and at least one
    call as long as there are as many strata as `size`. Memory holds a few times `size` calls of each stratum.
    """
    strata: dict[str, list[tuple[str, str]]] = {}
    counts: Counter[str] = Counter()
    for key, stratum in calls:
        place = hashlib.sha256(f"{seed}\n{key}".encode()).hexdigest()
        counts[stratum] += 1
        members = strata.setdefault(stratum, [])
        members.append((place, key))
        if len(members) >= 4 * size:
            members.sort()
            del members[size:]
    shares = _share_out(counts, size)
    drawn = [pair for stratum, members in strata.items() for pair in sorted(members)[: shares[stratum]]]
    return [key for _, key in sorted(drawn)]


def _share_out(counts: dict[str, int], size: int) -> dict[str, int]:
    total = sum(counts.values())
    if size >= total:
        return dict(counts)
    by_size = sorted(counts, key=lambda stratum: (-counts[stratum], stratum))
    shares = {stratum: 1 if number < size else 0 for number, stratum in enumerate(by_size)}
    left = size - sum(shares.values())
    # Shares of what is left, in proportion to the calls that each stratum still has.
    spare = {stratum: counts[stratum] - shares[stratum] for stratum in by_size}
    exact = {stratum: left * spare[stratum] / max(1, sum(spare.values())) for stratum in by_size}
    for stratum in by_size:
        shares[stratum] += int(exact[stratum])
    by_remainder = sorted(by_size, key=lambda stratum: (int(exact[stratum]) - exact[stratum], stratum))
    for stratum in by_remainder:
        if sum(shares.values()) == size:
            break
        if shares[stratum] < counts[stratum]:
            shares[stratum] += 1
    return shares
