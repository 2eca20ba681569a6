"""Compute the peaks of a recording, from which the page draws the waveform; each once, then kept beside the index."""

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from ..archive.object_store import ObjectStore

COUNT = 800
_BLOCK_SAMPLES = 1 << 17
_MAX_FRAMES = 48_000 * 6 * 3_600


@dataclass(frozen=True, slots=True)
class Peaks:
    """The loudest sample of each of up to 800 equal parts, 0 to 255; none where nothing here decodes the format."""

    values: list[int]
    duration_seconds: float


class PeakReader:
    """Reads peaks from the cache, or the recording. Threads may share it."""

    def __init__(self, store: ObjectStore):
        self._store = store

    def read_kept(self, cached: Path) -> Peaks | None:
        """Return peaks that were computed before; None where they were not, or are damaged."""
        try:
            return Peaks(**json.loads(cached.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def compute(self, key: str, cached: Path) -> Peaks | None:
        """Return the peaks of the recording at a key, and keep them; None where the bucket does not have it.

        This keeps a CPU busy.
        """
        if (kept := self.read_kept(cached)) is not None:
            return kept  # another reader's, who came first
        with tempfile.TemporaryFile(prefix="kros-") as file:
            if self._store.copy_into(key, file) is None:
                return None
            file.seek(0)
            peaks = compute_peaks(file)
        self._keep(cached, peaks)
        return peaks

    def _keep(self, cached: Path, peaks: Peaks) -> None:
        try:
            cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=cached.parent, suffix=".part", delete=False) as part:
                json.dump({"values": peaks.values, "duration_seconds": peaks.duration_seconds}, part)
            Path(part.name).replace(cached)
        except OSError as error:  # a full disk: the waveform is computed again next time
            logging.getLogger(__name__).warning("Peaks are not kept: %s", error.strerror)


def compute_peaks(file: IO[bytes]) -> Peaks:
    """Decode a recording block by block, and return its peaks; none where the format is not decoded here."""
    try:
        with soundfile.SoundFile(file) as sound:
            return _peaks_of(sound)
    except soundfile.LibsndfileError:
        return Peaks([], 0.0)


def _peaks_of(sound: soundfile.SoundFile) -> Peaks:
    frames = min(sound.frames, _MAX_FRAMES)
    if frames <= 0:
        return Peaks([], 0.0)
    count = min(COUNT, frames)
    loudest = np.zeros(count)
    at = 0
    size = max(1, _BLOCK_SAMPLES // sound.channels)  # a hostile file has 1,024 channels
    for block in sound.blocks(blocksize=size, dtype="float32", always_2d=True):
        samples = np.abs(block).max(axis=1)[: frames - at]
        if not len(samples):
            break
        parts = (np.arange(at, at + len(samples)) * count) // frames
        begins = np.flatnonzero(np.diff(parts, prepend=-1))
        which = parts[begins]
        loudest[which] = np.maximum(loudest[which], np.maximum.reduceat(samples, begins))
        at += len(samples)
    scaled = np.clip(np.nan_to_num(loudest) * 255, 0, 255).round().astype(int)
    return Peaks(scaled.tolist(), at / sound.samplerate)
