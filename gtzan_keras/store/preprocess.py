"""Tracks to a store: in parallel, streamed to one writer, and restartable at any moment."""

from __future__ import annotations

import functools
import json
import logging
import os
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pandas as pd

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, SpectrogramSpec, mel_image, segments
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, StoreWriter, pack
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import COLUMNS, check_columns, check_jobs, file_md5, load_track

__all__ = ["PreprocessReport", "preprocess"]

logger = logging.getLogger(__name__)

_BLOCK = 32  # tracks a worker: all wait for the last of a block, which costs under 2 %


@dataclass(frozen=True)
class PreprocessReport:
    """What `preprocess` did.

    Parameters
    ----------
    path : Path
        The store.
    written : int
        Tracks in it.
    samples : int
        Pictures in it; more than tracks when the spec has segments.
    resumed : int
        How many of the tracks an earlier run had done already.
    refused : dict of str to str
        Track ids left out, with the reason.
    seconds : float
        What this run took.
    """

    path: Path
    written: int
    samples: int
    resumed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def preprocess(
    tracks: pd.DataFrame,
    path: str | os.PathLike[str],
    spec: SpectrogramSpec | str,
    jobs: int = -1,
    progress: bool = True,
) -> PreprocessReport:
    """Turn tracks into a store of spectrogram pictures.

    Worker processes decode, transform and deflate; one writer takes their results in the order of
    the table. Files that can not be read are left out, one log line each, and never end the run.
    What is done lies in ``<path>.partial`` until the store is complete: killed at any moment and run
    again, it goes on from there and ends with the same file. Tracks that a complete store of the
    same spec holds are taken over, so that adding tracks costs only those. Tracks whose files have
    changed since, and those that were left out, are done anew.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    path : str or os.PathLike
        The HDF5 file to write.
    spec : SpectrogramSpec or str
        The analysis, or a name from `SPECTROGRAM_SPECS`.
    jobs : int
        Worker processes as joblib counts them; -1 uses every core.
    progress : bool
        Show a bar when the output is a terminal.

    Returns
    -------
    PreprocessReport

    Raises
    ------
    GtzanKerasError
        `path` holds another kind of file, or a store of another spec or with other tracks in it; the
        spec is not known; `jobs` is 0; a track stands in the table twice; or no track could be read.

    Examples
    --------
    >>> import numpy as np, soundfile, tempfile, pathlib
    >>> from gtzan_keras import load_tracks, preprocess
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "jazz").mkdir()
    >>> soundfile.write(root / "jazz" / "one.wav", np.random.uniform(-1, 1, 44100), 22050)
    >>> _ = (root / "jazz" / "two.wav").write_text("not music")
    >>> report = preprocess(load_tracks(root), root / "jazz.h5", "zhang-128", jobs=1)
    >>> report.written, list(report.refused)
    (1, ['jazz/two'])
    """
    check_columns(tracks, COLUMNS)
    spec = _resolve(spec)
    path = Path(path)
    if not spec.from_audio:
        raise GtzanKerasError(f"spec {spec.name!r} describes imported pictures; choose one made from audio")
    check_jobs(jobs)
    begin = time.perf_counter()
    ids = list(tracks["track_id"])
    if twice := [track_id for track_id, count in Counter(ids).items() if count > 1]:
        raise GtzanKerasError(f"track_id {twice[0]!r} stands in the table of tracks more than once")
    earlier = _earlier(path, spec, ids)
    held = {} if earlier is None else _rows_by_track(earlier)
    md5 = {} if earlier is None else earlier.source_md5

    path.parent.mkdir(parents=True, exist_ok=True)
    with _Journal(path.with_name(path.name + ".partial"), spec) as journal:
        md5 |= journal.md5
        to_do = [
            (track_id, file)
            for track_id, file in zip(ids, tracks["path"], strict=True)
            if (track_id not in journal.places and track_id not in held) or _changed(file, md5.get(track_id))
        ]
        resumed = len(ids) - len(to_do)
        if resumed:
            logger.info("%s: %d of %d tracks are there already", path, resumed, len(ids))
        for sample in _work(to_do, spec, jobs, progress):
            journal.append(sample)
            if sample.refused:
                logger.warning("left out %s: %s", sample.track_id, sample.refused)

        with StoreWriter(path, spec, tracks) as writer:
            for track_id in ids:
                if track_id in journal.places:
                    writer.append(journal.read(track_id))
                elif earlier is not None:
                    writer.append(earlier.sample(track_id))
            if not writer.rows:
                reasons = "; ".join(f"{t}: {r}" for t, r in list(writer.refused.items())[:3])
                journal.remove()
                raise GtzanKerasError(f"{path}: not one of {len(ids)} tracks could be read ({reasons})")
        if earlier is not None:
            earlier.close()
        journal.remove()
    refused = writer.refused
    seconds = time.perf_counter() - begin
    return PreprocessReport(path, len(ids) - len(refused), len(writer.rows), resumed, refused, seconds)


def _resolve(spec: SpectrogramSpec | str) -> SpectrogramSpec:
    if isinstance(spec, SpectrogramSpec):
        return spec
    if spec not in SPECTROGRAM_SPECS:
        raise GtzanKerasError(f"spec {spec!r} is not known; choose one of {', '.join(SPECTROGRAM_SPECS)}")
    return SPECTROGRAM_SPECS[spec]


def _make_sample(track_id: str, file: str, spec: SpectrogramSpec) -> Sample:
    """What a worker does for one track."""
    _keep_memory()
    try:
        audio = load_track(file, spec.sample_rate)
        chunks = pack(mel_image(piece, spec) for piece in segments(audio, spec))
        return Sample(track_id, chunks, md5=file_md5(file))
    except AudioError as error:
        return Sample(track_id, (), refused=error.reason)


@functools.cache
def _keep_memory() -> None:
    """Let a process keep the memory that it frees, for the next track.

    glibc gives large blocks back to the system at once, and asks for them again a moment later: a
    quarter of a worker's time went into that. Its thresholds rise when a large block is freed, up to
    32 MB (mallopt(3), "dynamic mmap threshold"). It is not touched, so it costs nothing.
    """
    np.empty(31 * 2**20, np.uint8)


def _work(to_do: list[tuple[str, str]], spec: SpectrogramSpec, jobs: int, progress: bool) -> Iterator[Sample]:
    import joblib
    from tqdm import tqdm

    # Workers do not wait for the writer: joblib starts the next task when one ends, and keeps what
    # nobody has taken yet. By the block, no more than a block ever waits.
    block = _BLOCK * joblib.effective_n_jobs(jobs)
    with (
        joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1) as pool,
        tqdm(total=len(to_do), desc=spec.name, unit="track", disable=None if progress else True) as bar,
    ):
        for start in range(0, len(to_do), block):
            tasks = to_do[start : start + block]
            for sample in pool(joblib.delayed(_make_sample)(*task, spec) for task in tasks):
                yield sample
                bar.update()


def _changed(file: str, md5: str | None) -> bool:
    """A source file is another one than it was; one that is gone, or was never known, is not."""
    return bool(md5) and Path(file).is_file() and file_md5(file) != md5


def _earlier(path: Path, spec: SpectrogramSpec, ids: list[str]) -> SpectrogramStore | None:
    """The complete store at `path`, if there is one; refused when it is no part of what is to be made."""
    if not path.exists():
        return None
    store = SpectrogramStore(path)
    others = sorted(set(store.track_id) - set(ids))
    if store.spec == spec and not others:
        return store
    store.close()
    if store.spec != spec:
        raise GtzanKerasError(_other_spec(path, store.spec, spec))
    raise GtzanKerasError(
        f"{path} holds {len(others)} track(s) that are not among these, e.g. {', '.join(others[:3])}; "
        "choose another file name, or delete it"
    )


def _other_spec(path: Path, there: SpectrogramSpec, wanted: SpectrogramSpec) -> str:
    return (
        f"{path} was made with spec {there.name!r}, not {wanted.name!r} ({there.difference(wanted)}); "
        f"choose another file name, or delete it\n  there:  {there}\n  wanted: {wanted}"
    )


def _rows_by_track(store: SpectrogramStore) -> dict[str, list[int]]:
    held: dict[str, list[int]] = {}
    for row, track_id in enumerate(store.track_id):
        held.setdefault(track_id, []).append(row)
    return held


class _Journal:
    """Finished tracks of an unfinished run: records appended to one file, each with its checksum.

    HDF5 keeps tables of contents that a kill can leave half-written; a file that only grows can
    not lose what it has. Whatever follows the last whole record is cut off when it is opened again,
    and tracks that were refused are forgotten: their files may be there, or whole, by now.
    """

    _HEAD = struct.Struct("<II")  # length and CRC-32 of what follows

    def __init__(self, path: Path, spec: SpectrogramSpec) -> None:
        self.path, self.spec = path, spec
        self.places: dict[str, tuple[int, int]] = {}
        self.md5: dict[str, str] = {}
        self._file: BinaryIO

    def __enter__(self) -> _Journal:
        self._file = open(self.path, "a+b")
        self._file.seek(0)
        first = self._next()
        if first is None:
            self._file.truncate(0)
            self._write(json.dumps(self.spec.to_dict()).encode())
        else:
            there = SpectrogramSpec.from_dict(json.loads(first))
            if there != self.spec:
                self._file.close()
                raise GtzanKerasError(_other_spec(self.path, there, self.spec))
        end = self._file.tell()
        while (record := self._next()) is not None:
            fields = json.loads(record.split(b"\n", 1)[0])
            if not fields["refused"]:
                self.places[fields["track_id"]] = (end, len(record))
                self.md5[fields["track_id"]] = fields["md5"]
            end = self._file.tell()
        self._file.truncate(end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _next(self) -> bytes | None:
        head = self._file.read(self._HEAD.size)
        if len(head) < self._HEAD.size:
            return None
        length, checksum = self._HEAD.unpack(head)
        rest = os.fstat(self._file.fileno()).st_size - self._file.tell()
        record = self._file.read(min(length, rest))  # a damaged length must not ask for gigabytes
        # Zeros, which a power cut can leave at the end of a file, would pass as an empty record.
        return record if record and len(record) == length and zlib.crc32(record) == checksum else None

    def _write(self, record: bytes) -> None:
        self._file.write(self._HEAD.pack(len(record), zlib.crc32(record)) + record)
        self._file.flush()

    def append(self, sample: Sample) -> None:
        lengths = [len(chunk) for chunk in sample.chunks]
        fields = {"track_id": sample.track_id, "md5": sample.md5, "refused": sample.refused}
        record = json.dumps({**fields, "lengths": lengths}).encode() + b"\n" + b"".join(sample.chunks)
        place = self._file.seek(0, os.SEEK_END)
        self._write(record)
        self.places[sample.track_id] = (place, len(record))

    def read(self, track_id: str) -> Sample:
        place, length = self.places[track_id]
        self._file.seek(place + self._HEAD.size)
        line, _, body = self._file.read(length).partition(b"\n")
        fields = json.loads(line)
        chunks, start = [], 0
        for size in fields.pop("lengths"):
            chunks.append(body[start : start + size])
            start += size
        return Sample(chunks=tuple(chunks), **fields)

    def remove(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)
