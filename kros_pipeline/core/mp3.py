"""Judge whether bytes are an MP3 that plays, and measure it. Every frame's header is read, every byte accounted for.

A reader that trusts the first header reports three minutes of audio for a file that is an error page after 2,000 bytes.
A player passes over tags, padding and damage, and goes on with the next frame; so does this module, and names them.
What it refuses is lost audio: no ten consistent frames in a row (in a body of fewer, all of them), or more than 2 % of
the expected frames missing.
"""

from dataclasses import dataclass, field

import numpy as np

from .audio import Audio, Inspection, NotAudio, OtherAnswer
from .audio_tags import find_tag, is_id3v2, strip_tags_behind, tag_end, unexplained_bytes
from .mp3_counts import StatedCounts, find_counting_frames, read_counts
from .mp3_frames import HEADER_BYTES, Frame, frame_at
from .mp3_sync import CONSISTENT_FRAMES, FrameReader

_MAX_MISSING_SHARE = 0.02
_MAX_GAPS = 10_000  # more of them are noise, and looking for each next frame takes time
_FIRST_STRIDE_FRAMES, _STRIDE_GROWTH = 64, 128
_LONG_RUN_FRAMES = 256


@dataclass(slots=True)
class _Run:
    """Whole frames of one kind, each at the end of the one before. `smallest` and `largest` are mean sizes."""

    start: int
    end: int
    first: Frame
    last: Frame
    frames: int = 0
    smallest: float = 0.0
    largest: float = 0.0

    @property
    def last_start(self) -> int:
        return self.end - self.last.size_bytes

    @property
    def mean_bytes(self) -> float:
        return self.smallest if self.is_constant else (self.end - self.start) / self.frames

    @property
    def is_constant(self) -> bool:
        return self.smallest == self.largest


@dataclass(slots=True)
class _Gap:
    """Bytes before, between or behind runs. `cut_frame` is the size that the header at its start says, if it is cut."""

    start: int
    end: int
    cut_frame: int = 0


@dataclass
class _Walk:
    """What the bytes of one body are: runs of frames, with gaps around them."""

    view: memoryview
    start: int
    end: int
    runs: list[_Run] = field(default_factory=list)
    gaps: list[_Gap] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return sum(run.frames for run in self.runs)


def inspect(body: bytes | bytearray | memoryview) -> Inspection:
    """Read every frame of a body. Raises `NotAudio` where audio is lost, or none is there."""
    view = memoryview(body)
    if not view:
        raise NotAudio("the body is empty")
    walk = _walk(view)
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
        unexplained_bytes=sum([0 if gap.cut_frame else _unexplained(walk, gap) for gap in walk.gaps]),
    )


def _walk(view: memoryview) -> _Walk:
    start = 0
    while (behind := tag_end(view, start, len(view))) is not None:
        start = behind
    walk = _Walk(view, start, strip_tags_behind(view, start, len(view)))
    reader = FrameReader(view, walk.end)
    start = _check_front(reader, start)
    _read_runs(walk, reader, start)
    if not walk.runs and (free_bytes := reader.find_free_bytes(start)):
        walk.gaps.clear()
        _read_runs(walk, FrameReader(view, walk.end, free_bytes), start)
    return walk


def _check_front(reader: FrameReader, start: int) -> int:
    """Return where to look for the first frame: behind the tags in front, or inside one that says a wrong size."""
    view = reader.view
    if not is_id3v2(view, 0):
        return start
    frame = reader.read(start)
    if frame is not None and reader.is_sound(start, 0, is_expected=True):
        before = start - frame.size_bytes
        if before < HEADER_BYTES or view[before : before + 2] != view[start : start + 2]:
            return start
    found = reader.find_sync(10, 0)
    is_inside = found is not None and found < start and reader.count_chain(found)[0] >= CONSISTENT_FRAMES
    return found if is_inside and found is not None else start


def _read_runs(walk: _Walk, reader: FrameReader, position: int) -> None:
    run: _Run | None = None
    is_expected = True  # a tag or the body's beginning ends here
    while position < walk.end:
        frame = reader.read(position)
        kind = run.first.kind if run else 0
        goes_on = run is not None and run.end == position and frame is not None and frame.kind == kind
        count = 0
        if frame is not None and position + frame.size_bytes <= walk.end:
            count = _count_equal_frames(walk.view, position, walk.end, frame.size_bytes)
            if not goes_on and count < CONSISTENT_FRAMES:
                count *= reader.is_sound(position, kind, is_expected=is_expected)
        if frame is not None and count:
            if run is None or not goes_on:
                run = _Run(position, position, frame, frame, 0, frame.mean_bytes, frame.mean_bytes)
                walk.runs.append(run)
            position += count * frame.size_bytes
            run.end, run.last, run.frames = position, frame, run.frames + count
            run.smallest, run.largest = min(run.smallest, frame.mean_bytes), max(run.largest, frame.mean_bytes)
            is_expected = False
            continue
        behind = tag_end(walk.view, position, len(walk.view))
        if behind is not None and behind <= walk.end:
            walk.gaps.append(_Gap(position, behind))
            position, is_expected = behind, True
            continue
        is_in_sync = run is not None and run.end == position
        if run is not None and is_in_sync:
            inside = find_tag(walk.view, run.last_start + HEADER_BYTES, position)
            if inside is not None:  # the last frame was cut: a tag begins inside it
                start = _drop_last(walk, run)
                walk.gaps.append(_Gap(start, inside, run.last.size_bytes))
                position, run, is_expected = inside, walk.runs[-1] if walk.runs else None, True
                continue
        found = reader.find_sync(run.last_start + HEADER_BYTES if run and is_in_sync else position, kind)
        if found is None:
            is_cut = is_in_sync and frame is not None and frame.kind == kind
            walk.gaps.append(_Gap(position, walk.end, frame.size_bytes if is_cut and frame else 0))
            return
        if run is not None and found < position:  # the last frame was cut: the next one begins inside it
            position = _drop_last(walk, run)
            walk.gaps.append(_Gap(position, found, run.last.size_bytes))
        else:
            walk.gaps.append(_Gap(position, found))
        position, run = found, walk.runs[-1] if walk.runs else None
        is_expected = True
        if len(walk.gaps) > _MAX_GAPS:
            raise NotAudio(f"damaged at more than {_MAX_GAPS:,} places, the last one at byte {position}")


def _drop_last(walk: _Walk, run: _Run) -> int:
    run.end = run.last_start
    run.frames -= 1
    if not run.frames:
        walk.runs.pop()
    return run.end


def _count_equal_frames(view: memoryview, position: int, end: int, size: int) -> int:
    """Count the whole frames that follow here with an equal header: in a file of constant bitrate, all of them."""
    count = (end - position) // size
    header = view[position : position + 3]
    if count < 2 or view[position + size : position + size + 3] != header:
        return 1  # a variable bitrate or padding: the caller goes on frame by frame
    # Compare headers as numbers, without their fourth byte, in few numpy operations on many frames each: numpy releases
    # the GIL in each operation, and with thirty threads, taking it back costs more time than the comparison.
    expected, stride = int.from_bytes(header, "little"), _FIRST_STRIDE_FRAMES
    ahead = position + _LONG_RUN_FRAMES * size
    if view[ahead : ahead + 3] == header:  # most likely all of them are equal
        stride *= _STRIDE_GROWTH
    while True:
        stride = min(stride, count)
        headers = np.ndarray((stride,), "<u4", view, position, (size,))
        different = (headers & 0xFFFFFF) != expected
        first = int(different.argmax())
        if different[first]:
            return first
        if stride == count:
            return count
        stride *= _STRIDE_GROWTH  # a small first stride keeps many short runs linear in the file's size


# What is wrong with it.


def _check_consistency(walk: _Walk) -> None:
    longest = max(run.frames for run in walk.runs)
    if longest < CONSISTENT_FRAMES and (walk.frames >= CONSISTENT_FRAMES or len(walk.runs) > 1):
        raise NotAudio(f"no {CONSISTENT_FRAMES} consistent frames in a row: the most are {longest}")


def _check_missing(walk: _Walk, missing: list[int]) -> None:
    lost, expected = sum(missing), walk.frames + sum(missing)
    if lost > _MAX_MISSING_SHARE * expected:
        gap = walk.gaps[missing.index(max(missing))]
        raise NotAudio(
            f"audio is lost: {lost:,} of {expected:,} expected frames are missing, {max(missing):,} of them "
            f"at byte {gap.start} of {len(walk.view)}"
        )


def _count_missing(walk: _Walk, gap: _Gap) -> int:
    """Return how many frames the bytes of a gap have replaced.

    Frames that were overwritten leave a gap that frames would fill exactly. Bytes that were put in do not. In a
    variable bitrate nobody can tell, so that all bytes between frames of one kind are taken for lost ones.
    """
    unexplained = _unexplained(walk, gap)
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


def _unexplained(walk: _Walk, gap: _Gap) -> int:
    return unexplained_bytes(walk.view, gap.start, gap.end)


def _compare_counts(walk: _Walk, missing: int) -> tuple[str, bool]:
    """Return how the counts in the first frame prove a cut, and whether they prove that the body is whole."""
    run = walk.runs[0]
    stated = read_counts(walk.view, run.start, run.first)
    if stated is None:
        return "", False
    came = walk.frames + missing - 1  # the frame that states it has no audio, and is mostly not counted
    if not stated.frames or came <= stated.frames + 1:
        return _compare_with(stated, came, len(walk.view) - run.start, run)
    return _compare_appended(walk)


def _compare_with(stated: StatedCounts, came: int, size: int, run: _Run) -> tuple[str, bool]:
    if stated.frames:
        if came < stated.frames - 1:
            return f"its {stated.name} header says {stated.frames:,} frames, and {came:,} came", False
        return "", True
    if stated.size_bytes:
        if size < stated.size_bytes - max(run.last.size_bytes, run.first.size_bytes):
            return f"its {stated.name} header says {stated.size_bytes:,} bytes, and {size:,} came", False
        return "", True
    return "", False


def _compare_appended(walk: _Walk) -> tuple[str, bool]:
    """Compare the counts of each file of several that were joined: more frames than the first one says are here."""
    starts = [at for at in find_counting_frames(walk.view) if any(run.start <= at < run.end for run in walk.runs)]
    for start, end in zip(starts, [*starts[1:], len(walk.view)], strict=True):
        part = _walk(walk.view[start:end])
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


def _describe_channels(walk: _Walk) -> list[str]:
    first, last = walk.runs[0].first, frame_at(walk.view, walk.runs[-1].last_start)
    if last is None or last.channels == first.channels:
        return []
    return [f"the number of channels changes from {first.channels} to {last.channels}"]


def _describe_changes(walk: _Walk) -> list[str]:
    changes = []
    for before, run in zip(walk.runs, walk.runs[1:], strict=False):
        if before.first.sample_rate_hz != run.first.sample_rate_hz:
            rates = f"from {before.first.sample_rate_hz} to {run.first.sample_rate_hz} Hz"
            changes.append(f"the sample rate changes at byte {run.start} {rates}")
        elif before.first.kind != run.first.kind:
            changes.append(f"the kind of frames changes at byte {run.start}")
    return changes


def _describe_gap(walk: _Walk, gap: _Gap) -> str:
    size = gap.end - gap.start
    is_last = gap.end == walk.end and (not walk.runs or walk.runs[-1].end <= gap.start)
    if gap.cut_frame:
        which = "the last frame" if is_last else f"a frame at byte {gap.start}"
        return f"{which} is cut: {size} of its {gap.cut_frame} bytes are there"
    unexplained = _unexplained(walk, gap)
    is_first = walk.runs[0].start >= gap.end
    if not unexplained:
        return "" if is_first or is_last else f"a tag of {size} bytes at byte {gap.start}, between frames"
    where = "in front of" if is_first else "behind" if is_last else "between"
    many, verb = ("", "is") if unexplained == 1 else ("s", "are")
    return f"{unexplained} byte{many} at byte {gap.start}, {where} the frames, {verb} no audio"


def _find_no_frame(walk: _Walk) -> NotAudio:
    """Return the error of a body in which no frame was found."""
    start, size = walk.start, len(walk.view)
    if not unexplained_bytes(walk.view, 0, size):
        return NotAudio("there is no audio in it, only tags")
    text = bytes(walk.view[start : start + 64]).removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"<", b"{"):
        return OtherAnswer(f"an HTML or JSON answer at byte {start} of {size}")
    return NotAudio(f"no MP3 frame at byte {start} of {size}")
