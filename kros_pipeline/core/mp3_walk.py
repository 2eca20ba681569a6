"""Walk over the frames of an MPEG audio body, and over what lies before, between and behind them."""

from dataclasses import dataclass, field

import numpy as np

from .audio import NotAudio
from .audio_tags import find_tag, is_id3v2, strip_tags_behind, tag_end, unexplained_bytes
from .mp3_frames import HEADER_BYTES, Frame
from .mp3_sync import CONSISTENT_FRAMES, FrameReader

_MAX_GAPS = 10_000  # more of them are noise, and looking for each next frame takes time
_FIRST_STRIDE_FRAMES, _STRIDE_GROWTH = 64, 128
_LONG_RUN_FRAMES = 256


@dataclass(slots=True)
class Run:
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
        """Where the last frame begins."""
        return self.end - self.last.size_bytes

    @property
    def mean_bytes(self) -> float:
        """The mean size of the frames."""
        return self.smallest if self.is_constant else (self.end - self.start) / self.frames

    @property
    def is_constant(self) -> bool:
        """Whether all frames have one bitrate."""
        return self.smallest == self.largest


@dataclass(slots=True)
class Gap:
    """Bytes before, between or behind runs. `cut_frame` is the size that the header at its start says, if it is cut."""

    start: int
    end: int
    cut_frame: int = 0


@dataclass
class Walk:
    """What the bytes of one body are: runs of frames, with gaps around them."""

    view: memoryview
    start: int
    end: int
    runs: list[Run] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """How many whole frames there are."""
        return sum(run.frames for run in self.runs)

    def unexplained(self, gap: Gap) -> int:
        """Return how many bytes of a gap belong to no tag."""
        return unexplained_bytes(self.view, gap.start, gap.end)


def walk_frames(view: memoryview) -> Walk:
    """Read every frame of a body. Raises `NotAudio` where there is damage at too many places."""
    start = 0
    while (behind := tag_end(view, start, len(view))) is not None:
        start = behind
    walk = Walk(view, start, strip_tags_behind(view, start, len(view)))
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


def _read_runs(walk: Walk, reader: FrameReader, position: int) -> None:
    run: Run | None = None
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
                run = Run(position, position, frame, frame, 0, frame.mean_bytes, frame.mean_bytes)
                walk.runs.append(run)
            position += count * frame.size_bytes
            run.end, run.last, run.frames = position, frame, run.frames + count
            run.smallest, run.largest = min(run.smallest, frame.mean_bytes), max(run.largest, frame.mean_bytes)
            is_expected = False
            continue
        behind = tag_end(walk.view, position, len(walk.view))
        if behind is not None and behind <= walk.end:
            walk.gaps.append(Gap(position, behind))
            position, is_expected = behind, True
            continue
        is_in_sync = run is not None and run.end == position
        if run is not None and is_in_sync:
            inside = find_tag(walk.view, run.last_start + HEADER_BYTES, position)
            if inside is not None:  # the last frame was cut: a tag begins inside it
                start = _drop_last(walk, run)
                walk.gaps.append(Gap(start, inside, run.last.size_bytes))
                position, run, is_expected = inside, walk.runs[-1] if walk.runs else None, True
                continue
        found = reader.find_sync(run.last_start + HEADER_BYTES if run and is_in_sync else position, kind)
        if found is None:
            is_cut = is_in_sync and frame is not None and frame.kind == kind
            walk.gaps.append(Gap(position, walk.end, frame.size_bytes if is_cut and frame else 0))
            return
        if run is not None and found < position:  # the last frame was cut: the next one begins inside it
            position = _drop_last(walk, run)
            walk.gaps.append(Gap(position, found, run.last.size_bytes))
        else:
            walk.gaps.append(Gap(position, found))
        position, run = found, walk.runs[-1] if walk.runs else None
        is_expected = True
        if len(walk.gaps) > _MAX_GAPS:
            raise NotAudio(f"damaged at more than {_MAX_GAPS:,} places, the last one at byte {position}")


def _drop_last(walk: Walk, run: Run) -> int:
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
