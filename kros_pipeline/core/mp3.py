"""Judge whether bytes are an MP3 that plays, and measure it. Every frame's header is read, every byte accounted for.

A reader that trusts the first header reports three minutes of audio for a file that is an error page after 2,000 bytes.
A player passes over tags, padding and damage, and goes on with the next frame; so does this module, and names them.
What it refuses is lost audio: no ten consistent frames in a row (in a body of fewer, all of them), or more than 2 % of
the expected frames missing.
"""

from itertools import pairwise

from .audio import Audio, Inspection, NotAudio, OtherAnswer
from .audio_tags import unexplained_bytes
from .mp3_counts import StatedCounts, find_counting_frames, read_counts
from .mp3_frames import frame_at
from .mp3_sync import CONSISTENT_FRAMES
from .mp3_walk import Gap, Run, Walk, walk_frames

_MAX_MISSING_SHARE = 0.02


def inspect(body: bytes | bytearray | memoryview) -> Inspection:
    """Read every frame of a body. Raises `NotAudio` where audio is lost, or none is there."""
    view = memoryview(body)
    if not view:
        raise NotAudio("the body is empty")
    walk = walk_frames(view)
    if not walk.runs:
        raise _find_no_frame(walk)
    missing = [_count_missing(walk, gap) for gap in walk.gaps]
    cut, is_counted = _compare_counts(walk, sum(missing))
    defects = _describe_channels(walk)
    if walk.gaps or len(walk.runs) > 1:
        if not cut:
            _check_consistency(walk)
            _check_missing(walk, missing)
        defects += [*_describe_changes(walk), *(text for gap in walk.gaps if (text := _describe_gap(walk, gap)))]
    seconds = sum([run.frames * run.first.samples / run.first.sample_rate_hz for run in walk.runs])
    size = sum([run.end - run.start for run in walk.runs])
    first = walk.runs[0].first
    return Inspection(
        Audio(seconds, first.sample_rate_hz, first.channels, round(size * 8 / seconds)),
        defects=tuple(defects),
        cut=cut,
        is_counted=is_counted,
        ends_in_frame=_ends_in_frame(walk),
        unexplained_bytes=sum([0 if gap.cut_frame else walk.unexplained(gap) for gap in walk.gaps]),
    )


# What is wrong with it.


def _check_consistency(walk: Walk) -> None:
    longest = max(run.frames for run in walk.runs)
    if longest < CONSISTENT_FRAMES and (walk.frames >= CONSISTENT_FRAMES or len(walk.runs) > 1):
        raise NotAudio(f"no {CONSISTENT_FRAMES} consistent frames in a row: the most are {longest}")


def _check_missing(walk: Walk, missing: list[int]) -> None:
    lost, expected = sum(missing), walk.frames + sum(missing)
    if lost > _MAX_MISSING_SHARE * expected:
        gap = walk.gaps[missing.index(max(missing))]
        raise NotAudio(
            f"audio is lost: {lost:,} of {expected:,} expected frames are missing; there is no MP3 frame "
            f"at byte {gap.start} of {len(walk.view)}"
        )


def _count_missing(walk: Walk, gap: Gap) -> int:
    """Return how many frames the bytes of a gap have replaced.

    Frames that were overwritten leave a gap that frames would fill exactly. Bytes that were put in do not. In a
    variable bitrate nobody can tell, so that all bytes between frames of one kind are taken for lost ones.
    """
    unexplained = walk.unexplained(gap)
    if gap.cut_frame or not unexplained:
        return 0
    before = next((run for run in walk.runs if run.end == gap.start), None)
    behind = next((run for run in walk.runs if run.start == gap.end), None)
    if before is not None and behind is not None and before.first.kind != behind.first.kind:
        return 0
    runs = [run for run in (before, behind) if run is not None]
    if not runs:
        return 0
    if all(run.is_constant for run in runs) and runs[0].mean_bytes == runs[-1].mean_bytes:
        mean = runs[0].mean_bytes
        frames = round(unexplained / mean)
        tolerance = 0 if mean == int(mean) else 1
        return frames if abs(unexplained - frames * mean) <= tolerance else 0
    return int(unexplained // (sum(run.mean_bytes for run in runs) / len(runs))) if len(runs) == 2 else 0


def _compare_counts(walk: Walk, missing: int) -> tuple[str, bool]:
    """Return how the counts in the first frame prove a cut, and whether they prove that the body is whole."""
    run = walk.runs[0]
    stated = read_counts(walk.view, run.start, run.first)
    if stated is None:
        return "", False
    came = walk.frames + missing - 1  # the frame that states it has no audio, and is mostly not counted
    if not stated.frames or came <= stated.frames + 1:
        return _compare_with(stated, came, len(walk.view) - run.start, run)
    return _compare_appended(walk)


def _compare_with(stated: StatedCounts, came: int, size: int, run: Run) -> tuple[str, bool]:
    if stated.frames:
        if came < stated.frames - 1:
            return f"its {stated.name} header says {stated.frames:,} frames, and {came:,} came", False
        return "", True
    if stated.size_bytes:
        if size < stated.size_bytes - max(run.last.size_bytes, run.first.size_bytes):
            return f"its {stated.name} header says {stated.size_bytes:,} bytes, and {size:,} came", False
        return "", True
    return "", False


def _compare_appended(walk: Walk) -> tuple[str, bool]:
    """Compare the counts of each file of several that were joined: more frames than the first one says are here."""
    starts = [at for at in find_counting_frames(walk.view) if any(run.start <= at < run.end for run in walk.runs)]
    for start, end in pairwise([*starts, len(walk.view)]):
        part = walk_frames(walk.view[start:end])
        if not part.runs or part.runs[0].start:
            continue
        run = part.runs[0]
        stated = read_counts(part.view, 0, run.first)
        if stated is not None:
            missing = sum(_count_missing(part, gap) for gap in part.gaps)
            cut, _ = _compare_with(stated, part.frames + missing - 1, end - start, run)
            if cut:
                return f"of several joined files, the one at byte {start} is cut: {cut}", False
    return "", True


def _ends_in_frame(walk: Walk) -> bool:
    gap = walk.gaps[-1] if walk.gaps else None
    return gap is not None and gap.end == walk.end and (bool(gap.cut_frame) or walk.view[gap.start] == 0xFF)


def _describe_channels(walk: Walk) -> list[str]:
    first, last = walk.runs[0].first, frame_at(walk.view, walk.runs[-1].last_start)
    if last is None or last.channels == first.channels:
        return []
    return [f"the number of channels changes from {first.channels} to {last.channels}"]


def _describe_changes(walk: Walk) -> list[str]:
    changes = []
    for before, run in zip(walk.runs, walk.runs[1:], strict=False):
        if before.first.sample_rate_hz != run.first.sample_rate_hz:
            rates = f"from {before.first.sample_rate_hz} to {run.first.sample_rate_hz} Hz"
            changes.append(f"the sample rate changes at byte {run.start} {rates}")
        elif before.first.kind != run.first.kind:
            changes.append(f"the kind of frames changes at byte {run.start}")
    return changes


def _describe_gap(walk: Walk, gap: Gap) -> str:
    size = gap.end - gap.start
    is_last = gap.end == walk.end and (not walk.runs or walk.runs[-1].end <= gap.start)
    if gap.cut_frame:
        which = "the last frame" if is_last else f"a frame at byte {gap.start}"
        return f"{which} is cut: {size} of its {gap.cut_frame} bytes are there"
    unexplained = walk.unexplained(gap)
    is_first = walk.runs[0].start >= gap.end
    if not unexplained:
        return "" if is_first or is_last else f"a tag of {size} bytes at byte {gap.start}, between frames"
    where = "in front of" if is_first else "behind" if is_last else "between"
    many, verb = ("", "is") if unexplained == 1 else ("s", "are")
    return f"{unexplained} byte{many} at byte {gap.start}, {where} the frames, {verb} no audio"


def _find_no_frame(walk: Walk) -> NotAudio:
    """Return the error of a body in which no frame was found."""
    start, size = walk.start, len(walk.view)
    if not unexplained_bytes(walk.view, 0, size):
        return NotAudio("there is no audio in it, only tags")
    text = bytes(walk.view[start : start + 64]).removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"<", b"{"):
        return OtherAnswer(f"an HTML or JSON answer at byte {start} of {size}")
    return NotAudio(f"no MP3 frame at byte {start} of {size}")
