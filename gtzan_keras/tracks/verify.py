"""Open every track and say what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.tracks.catalogue import check_jobs, facts, file_md5, files_of, load_track

__all__ = ["verify"]


def verify(tracks: pd.DataFrame, jobs: int = -1) -> pd.DataFrame:
    """Open every track and say what is wrong with it.

    Each file is read whole and its MD5 compared with the facts (for WAV files: the facts are about
    those). Exact copies found by MD5 are added to ``duplicates``.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    jobs : int
        Worker processes as joblib counts them; -1 uses every core.

    Returns
    -------
    pd.DataFrame
        A copy with ``status`` filled: ``ok``, ``missing``, ``unreadable: <reason>``, ``too short:
        <seconds>``, or ``checksum differs``.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from gtzan_keras import load_tracks, verify
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "jazz").mkdir()
    >>> _ = (root / "jazz" / "jazz.00054.wav").write_bytes(b"this is no music")
    >>> verify(load_tracks(root), jobs=1).loc[0, "status"]
    'unreadable: not readable as sound (Format not recognised)'
    """
    import joblib
    from tqdm import tqdm

    check_jobs(jobs)
    known = _facts_of(tracks)
    expected = known["wav_md5"].reindex(tracks["track_id"]).fillna("")
    work = zip(tracks["path"], expected, strict=True)
    results = joblib.Parallel(n_jobs=jobs, return_as="generator")(
        joblib.delayed(_check)(path, md5) for path, md5 in work
    )
    checked = list(tqdm(results, total=len(tracks), desc="verify", unit="track", disable=None))
    verified = tracks.copy()
    verified["status"] = [status for status, _ in checked]

    by_md5: dict[str, list[str]] = {}
    for track_id, (_, md5) in zip(tracks["track_id"], checked, strict=True):
        if md5:
            by_md5.setdefault(md5, []).append(track_id)
    verified["duplicates"] = [
        tuple(sorted({*duplicates, *by_md5.get(md5, [])} - {track_id}))
        for track_id, duplicates, (_, md5) in zip(
            tracks["track_id"], tracks["duplicates"], checked, strict=True
        )
    ]
    return verified


def _check(path: str, expected_md5: str) -> tuple[str, str]:
    """Status and MD5 of one file; MD5 "" where there is no sound in it."""
    if not all(os.path.isfile(file) for file in files_of(path)):
        return "missing", ""
    try:
        load_track(path, sample_rate=22050)
    except AudioError as error:
        reason = error.reason
        return (reason if reason.startswith("too short") else f"unreadable: {reason}"), ""
    md5 = file_md5(path)
    whole_wav = Path(path).suffix.lower() == ".wav" and files_of(path) == [Path(path)]
    if expected_md5 and whole_wav and md5 != expected_md5:
        return "checksum differs", md5
    return "ok", md5


def _facts_of(tracks: pd.DataFrame) -> pd.DataFrame:
    """The facts that apply to a table: those beside its genre folders, else the packaged ones."""
    for path in tracks["path"][:1]:
        for folder in list(Path(path).parents)[1:4]:  # genre folders may hold albums
            if path and (folder / "tracks.csv").is_file():
                return facts(folder / "tracks.csv")
    return facts()
