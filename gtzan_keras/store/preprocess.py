"""Tracks to a store: in parallel, streamed to one writer, and restartable at any moment."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, SpectrogramSpec, mel_image, segments
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, Store, pack, write_store
from gtzan_keras.store.embeddings import EmbeddingSpec
from gtzan_keras.store.open import open_store
from gtzan_keras.store.parts import Parts, Task, by_track, hashed, none_read, tasks_of
from gtzan_keras.tracks.catalogue import COLUMNS, load_track

__all__ = ["PreprocessReport", "make_store", "preprocess"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreprocessReport:
    """What `preprocess` or `embed` did.

    Parameters
    ----------
    path : Path
        The store.
    written : int
        Tracks in it.
    samples : int
        Samples in it; more than tracks when the spec has segments.
    resumed : int
        How many of the tracks were already done, in the store or by an interrupted run.
    refused : dict of str to str
        Ids of the tracks that could not be read, with the reason.
    seconds : float
        Duration of this run.
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
    """Turn tracks into a store of spectrograms.

    Worker processes decode, transform and deflate; one writer takes their results in the order of
    the table. Files that cannot be read are left out, one log line each, and never end the run.
    Finished parts are in the folder ``<path>.parts`` until the store is complete: a run that is
    interrupted at any moment and started again continues from there and ends with the same file. Tracks
    of a complete store of the same spec are kept, so that adding tracks costs only those. Tracks whose
    files have changed are done again.

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
        `path` holds another kind of file, or a store of another spec or with other tracks in it, or
        another process is making it; the spec is not known; `jobs` is 0; a track is duplicated in the
        table; or no track could be read.

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
    if isinstance(spec, str):
        if spec not in SPECTROGRAM_SPECS:
            raise GtzanKerasError(f"spec={spec!r}: not known; expected one of {', '.join(SPECTROGRAM_SPECS)}")
        spec = SPECTROGRAM_SPECS[spec]
    if not spec.from_audio:
        raise GtzanKerasError(f"spec {spec.name!r} describes imported images; choose one made from audio")

    def compute(tasks: list[Task]) -> Iterator[Sample]:
        return by_track(functools.partial(_make_sample, spec=spec), tasks, jobs)

    return make_store(tracks, path, spec, compute, jobs, progress)


def _make_sample(track_id: str, file: str, md5: str, spec: SpectrogramSpec) -> Sample:
    """What a worker does for one track."""
    _keep_memory()
    try:
        audio = load_track(file, spec.sample_rate)
        return Sample(track_id, pack(mel_image(piece, spec) for piece in segments(audio, spec)), md5)
    except AudioError as error:
        return Sample(track_id, md5=md5, refused=error.reason)


@functools.cache
def _keep_memory() -> None:
    """Let a process keep the memory that it frees, for the next track.

    glibc returns large blocks to the system at once, and asks for them again a moment later: a quarter of
    a worker's time went into that. Its thresholds rise when a large block is freed, up to 32 MB
    (mallopt(3), "dynamic mmap threshold"). The block is not touched, so it costs nothing.
    """
    np.empty(31 * 2**20, np.uint8)


def make_store(
    tracks: pd.DataFrame,
    path: str | os.PathLike[str],
    spec: SpectrogramSpec | EmbeddingSpec,
    compute: Callable[[list[Task]], Iterable[Sample]],
    jobs: int,
    progress: bool,
) -> PreprocessReport:
    """Make a store part by part from what `compute` yields: one `Sample` per track, in order.

    An earlier store at `path` is kept as far as its tracks are unchanged. See `preprocess`.
    """
    path, begin, tasks = Path(path), time.perf_counter(), tasks_of(tracks, COLUMNS, jobs)
    # The earlier store is closed before it is replaced, which Windows requires.
    with Parts(path) as parts, _earlier(path, spec, tracks) as earlier:
        kept = set() if earlier is None else _unchanged(earlier, tasks, jobs)
        to_do = [task for task in tasks if task.track_id not in kept]
        with tqdm(total=len(to_do), desc=spec.name, unit="track", disable=None if progress else True) as bar:

            def write(part: Path, some: list[Task]) -> None:
                ids = [task.track_id for task in some]
                with write_store(part, spec, tracks[tracks["track_id"].isin(ids)]) as out:
                    for sample in compute(some):
                        out.append(sample)
                        bar.update()

            made = list(parts.make(spec.to_dict(), to_do, jobs, write))
        if earlier is None or to_do or not earlier.made_from(tracks):
            with write_store(parts.whole, spec, tracks) as out:
                fresh = (sample for part, some in made for sample in _samples(part, some))
                for task in tasks:
                    if earlier is not None and task.track_id in kept:
                        out.append(earlier.sample(task.track_id))
                    else:
                        out.append(next(fresh))
                if not out.rows:
                    parts.clear()
                    raise none_read(len(tasks), out.refused)
    with open_store(path) as store:
        samples, refused = len(store), store.refused
    for track_id, reason in refused.items():
        logger.warning("left out %s: %s", track_id, reason)
    seconds = time.perf_counter() - begin
    return PreprocessReport(
        path, len(tasks) - len(refused), samples, len(kept) + parts.reused, refused, seconds
    )


def _samples(part: Path, tasks: list[Task]) -> Iterator[Sample]:
    with open_store(part) as store:
        for task in tasks:
            yield store.sample(task.track_id)


@contextmanager
def _earlier(
    path: Path, spec: SpectrogramSpec | EmbeddingSpec, tracks: pd.DataFrame
) -> Iterator[Store | None]:
    """Open the complete store at `path`; refuse one with another spec or with other tracks in it."""
    if not path.exists():
        yield None
        return
    with open_store(path) as store:
        others = sorted(set(store.track_id) - set(tracks["track_id"]))
        problem = f"holds {len(others)} track(s) that are not among these, e.g. {', '.join(others[:3])}"
        if store.spec != spec:
            difference = spec.difference(store.spec)
            problem = f"was made with spec {store.spec.name!r}, not {spec.name!r} ({difference})"
        if others or store.spec != spec:
            raise GtzanKerasError(f"{path} {problem}; choose another file name, or delete it")
        yield store


def _unchanged(store: Store, tasks: list[Task], jobs: int) -> set[str]:
    """Return the tracks whose files are those that the store was made from, or are gone."""
    recorded = store.source_md5
    samples = set(store.track_id)
    kept = samples - recorded.keys()  # made from arrays
    for task in hashed([task for task in tasks if task.track_id in recorded], jobs):
        gone = not task.md5 and task.track_id in samples
        if gone or task.md5 == recorded[task.track_id]:
            kept.add(task.track_id)
    return kept
