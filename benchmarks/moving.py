"""Compare the `recordings` step with other programs that move audio from the source to the sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.alternatives.rclone import find_rclone
from benchmarks.contest import Measure, Rounds, measure
from benchmarks.services import DAY, Services, start_services
from benchmarks.sink import BUCKET
from benchmarks.table import Row, Section, cpu_each, spread

_WORKERS = 32
_AUDIO_SECONDS = (126, 207)  # 1.5 to 2.5 MB
_OURS, _BARE = "the recordings step", "bare loop, requests + obstore"
_BOTO3, _RCLONE, _SEQUENTIAL = "threads, requests + boto3", "rclone copyurl", "the documentation's script"
_ALTERNATIVES = "benchmarks.alternatives."

Contestants = dict[str, Callable[[dict[str, str]], Measure]]


def run(*, is_quick: bool) -> Section:
    """Compare without and with 50 ms before each answer, and each without and with TLS."""
    calls, rounds = (100, 1) if is_quick else (300, 5)
    return Section(
        "1. Moving audio",
        f"{calls} recordings of 1.5 to 2.5 MB, {_WORKERS} at once; the documentation's script moves the first 60. "
        "The step has sixteen more threads, which verify and upload.",
        [
            *_case("no delay", calls, rounds, 0.0, {_RCLONE: 1.2, _BARE: None, _BOTO3: None}, most_cpu=0.8),
            *_case("50 ms", calls, rounds, 0.05, {_RCLONE: 1.6, _SEQUENTIAL: 30.0, _BARE: None}, most_cpu=0.8),
            *_case("50 ms, TLS", calls, rounds, 0.05, {_RCLONE: 1.4, _BARE: None, _BOTO3: None}, 0.75, is_tls=True),
            *_case("no delay, TLS", calls, rounds, 0.0, {_RCLONE: 1.05, _BARE: None}, most_cpu=0.9, is_tls=True),
        ],
    )


def _case(
    case: str,
    calls: int,
    rounds: int,
    delay_seconds: float,
    targets: dict[str, float | None],
    most_cpu: float,
    *,
    is_tls: bool = False,
) -> Iterator[Row]:
    """Measure one case. A target is the smallest allowed ratio of our rate to the contestant's rate.

    `most_cpu` is the largest allowed ratio of our CPU time to rclone's.
    """
    with start_services(calls, _AUDIO_SECONDS, is_tls=is_tls) as services:
        services.set_delay(delay_seconds)
        contestants = {_OURS: _ours} | {name: _alternative(name, calls) for name in targets}
        if find_rclone() is None:
            contestants.pop(_RCLONE, None)
        results: dict[str, list[Measure]] = {name: [] for name in contestants}
        requests: dict[str, str] = {}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                services.clear()
                results[name].append(contestant(services.environment()))
                requests[name] = _requests(services)
    ours = Rounds(results[_OURS])
    for name in (_OURS, *targets):
        if name not in results:
            yield Row(case, name, "not installed (the dev extra brings it)")
            continue
        theirs, least = Rounds(results[name]), targets.get(name)
        ratio = None if name == _OURS else ours.rate() / theirs.rate()
        yield Row(
            case,
            name,
            spread(theirs.rates(), "/s", 1),
            ratio,
            "" if least is None else f"at least {least:g}",
            None if least is None or ratio is None else ratio >= least,
            cpu_each(theirs),
            theirs.peak_bytes(),
            requests[name],
        )
    if _RCLONE in results:
        ratio = ours.cpu_seconds() / Rounds(results[_RCLONE]).cpu_seconds()
        yield Row(case, "CPU, ours ÷ rclone's", "", ratio, f"at most {most_cpu:g}", ratio <= most_cpu)


def _ours(environment: dict[str, str]) -> Measure:
    measure("benchmarks.pipeline_steps:calls", environment, day=DAY)
    return measure("benchmarks.pipeline_steps:recordings", environment, day=DAY)


def _alternative(name: str, calls: int) -> Callable[[dict[str, str]], Measure]:
    module, arguments = {
        _BARE: ("bare_loop", {"workers": _WORKERS}),
        _BOTO3: ("boto3_threads", {"workers": _WORKERS}),
        _RCLONE: ("rclone", {"workers": _WORKERS}),
        _SEQUENTIAL: ("sequential", {"most": min(calls, 60)}),
    }[name]

    def contestant(environment: dict[str, str]) -> Measure:
        prefix = environment["KROS_ARCHIVE_URL"].rsplit("/", 1)[1]
        return measure(f"{_ALTERNATIVES}{module}:move", environment, bucket=BUCKET, prefix=prefix, **arguments)

    return contestant


def _requests(services: Services) -> str:
    """Return the requests that both servers counted; ours include the `calls` step before it."""
    api = sum(services.source.counters()["requests_by_route"].values())
    return f"{api} API, {sum(services.sink.counters()['requests'].values())} S3"
