"""Open every track and report what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.parallel import in_parallel
from gtzan_keras.tracks.catalogue import facts, facts_about, file_md5, files_of, genre_of_folder, load_track
from gtzan_keras.tracks.near_duplicates import with_near_duplicates

__all__ = ["verify"]


def verify(tracks: pd.DataFrame, jobs: int = -1) -> pd.DataFrame:
    """Open every track and report what is wrong with it.

    Each file is read whole. The MD5 of WAV files is compared with the facts. Exact copies are found by
    their MD5 and added to ``duplicates``.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    jobs : int
        Number of worker processes; -1 uses one per core.

    Returns
    -------
    pd.DataFrame
        A copy with ``status`` filled: ``ok``, ``missing``, ``unreadable: <reason>``, ``damaged: <where>``
        (it cannot be decoded to its end, or ends before the length that it declares), ``too short:
        <seconds>``, ``silent: ...`` or ``checksum differs``.

    Raises
    ------
    GtzanKerasError
        `jobs` is 0.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from gtzan_keras import load_tracks, verify
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "jazz").mkdir()
    >>> _ = (root / "jazz" / "jazz.00054.wav").write_bytes(b"this is not music")
    >>> verify(load_tracks(root), jobs=1).loc[0, "status"]
    'unreadable: not readable as sound (Format not recognised)'
    """
    expected = _facts_of(tracks)["wav_md5"].reindex(tracks["track_id"]).fillna("").str.lower()
    tasks = [*zip(tracks["path"], expected, strict=True)]
    results = in_parallel(_check, tasks, tracks["path"].tolist(), jobs)
    checked = list(tqdm(results, "verify", len(tasks), unit="track", disable=None))
    md5s = pd.Series([md5 for _, md5 in checked], tracks.index, dtype=object)
    copies = pd.DataFrame(
        [(ids.iloc[0], copy) for md5, ids in tracks["track_id"].groupby(md5s) if md5 for copy in ids[1:]],
        columns=["first", "second"],
    )
    return with_near_duplicates(tracks.assign(status=[status for status, _ in checked]), copies)


def _check(path: str, expected_md5: str) -> tuple[str, str]:
    """Return status and MD5 of one file; MD5 "" if it cannot be read."""
    if not all(os.path.isfile(file) for file in files_of(path)):
        return "missing", ""
    try:
        load_track(path, sample_rate=22050)
    except AudioError as error:
        named = error.reason.startswith(("too short", "damaged", "silent"))
        return error.reason if named else f"unreadable: {error.reason}", ""
    md5 = file_md5(path)
    whole_wav = Path(path).suffix.lower() == ".wav" and files_of(path) == [Path(path)]
    if expected_md5 and whole_wav and md5 != expected_md5:
        return "checksum differs", md5
    return "ok", md5


def _facts_of(tracks: pd.DataFrame) -> pd.DataFrame:
    """Return the facts that apply to a table: those next to its genre folders, else the packaged ones."""
    for path, genre in zip(tracks["path"][:1], tracks["genre"], strict=False):
        folders = [folder for folder in Path(path).parents if genre_of_folder(folder.name) == genre]
        own = [folder.parent / "tracks.csv" for folder in folders]
        if found := [file for file in own if file.is_file()]:
            return facts_about(found[0], tracks["track_id"])
    return facts()
