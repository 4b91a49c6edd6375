"""The demo set: a synthesised folder in GTZAN's shape, for trying everything out without any data.

Every genre plays drums, bass, chords and a melody from the tables in ``demo.toml``. Genres differ more in
time (tempo, drum pattern, how long notes ring) than in the mean spectrum, to which each artist applies an
equaliser of their own; and neighbouring genres borrow from each other. So a linear model on the means
of 64 log-mel bands is well above chance, and one that also hears rhythm is better.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.parallel import in_parallel
from gtzan_keras.tracks.catalogue import FACT_COLUMNS, file_md5

__all__ = ["SAMPLE_RATE", "VERSION", "make"]

Samples = npt.NDArray[np.float32]
T = TypeVar("T")

SAMPLE_RATE = 22050
"""Sample rate of every file [Hz]."""

VERSION = 2
"""Increased whenever the same arguments would give different sound."""

TRUNCATED_SECONDS = 0.4
PARTS = {"train": 0.5, "valid": 0.2, "test": 0.3}


class Voice(NamedTuple):
    """How an instrument sounds: see ``demo.toml``."""

    rolloff: float
    decay: float = 9.0
    damp: float = 0.0
    attack: float = 0.01
    vibrato: float = 0.0
    drive: float = 0.0


_TABLES = tomllib.loads(Path(__file__).with_name("demo.toml").read_text("utf-8"))
VOICES = {name: Voice(**sound) for name, sound in _TABLES["voices"].items()}
GROOVES: dict[str, list[str]] = _TABLES["grooves"]
STYLES: dict[str, dict[str, Any]] = _TABLES["styles"]
TITLE_WORDS: list[list[str]] = _TABLES["title_words"]
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 10))
PROGRESSIONS = ("0344", "0534", "0000330043040000", "0650")  # chord roots as scale degrees, one per bar
LEVELS = (-3, -4, -6, -4)  # dB: drums, bass, chords, melody
LOUDNESS = {"X": 1.0, "x": 0.7, "-": 0.4}


BORROWED = (("grooves",), ("bass", "comping"), ("voices", "chord"), ("tempo", "swing"))
BORROWING = 0.25
"""Share of tracks that take something from a neighbouring genre."""

EQ_POINTS = np.geomspace(40, SAMPLE_RATE / 2, 10)
SILENCE = 1e-9


def make(
    root: str | os.PathLike[str],
    tracks_per_genre: int = 20,
    seconds: float = 30.0,
    seed: int = 0,
    jobs: int = -1,
) -> Path:
    """Synthesise the demo set: ten genre-like folders of WAV files, with planted faults like GTZAN's.

    Next to the folders are ``tracks.csv``, with the columns of the package's own table of GTZAN, and
    ``README.txt``. The last track of jazz is truncated, the last of reggae is an empty file, and the
    last of rock is a copy of the last of metal. The same arguments give the same bytes on the same
    machine. A folder that already holds this demo set is returned unchanged.

    Parameters
    ----------
    root : str or os.PathLike
        The folder to make, with its parents. It must be absent or empty.
    tracks_per_genre : int >= 3
        Tracks in each genre, by artists with two to five tracks each (one, in the smallest sets).
    seconds : float >= 1 [seconds]
        Length of a track.
    seed : int >= 0
        A different seed gives different artists and music.
    jobs : int
        Worker processes as joblib counts them; -1 uses every core. It does not change the result.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or `root` holds something else, cannot be made, or is the current folder.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.tracks import demo
    >>> root = demo.make(tempfile.mkdtemp(), tracks_per_genre=3, seconds=1, jobs=1)
    >>> sorted(path.name for path in (root / "blues").iterdir())
    ['demo.00000.wav', 'demo.00001.wav', 'demo.00002.wav']
    """
    limits = {"tracks_per_genre": (tracks_per_genre, 3), "seconds": (seconds, 1), "seed": (seed, 0)}
    for name, (value, least) in limits.items():
        if not least <= value < math.inf:
            raise GtzanKerasError(f"demo set: {name}={value}: expected a number of at least {least}")
    root = Path(root)
    last = f"demo.{tracks_per_genre - 1:05d}"
    readme = f"""gtzan-keras demo set

Synthesised music-like sound in the shape of the GTZAN collection. It is not GTZAN: nobody played
it, artists and titles are invented, and figures measured on it say nothing about real music.
Made by gtzan_keras.tracks.demo.make, version {VERSION} of the synthesis, with
tracks_per_genre={tracks_per_genre}, seconds={seconds:g}, seed={seed}.

The facts of every track are in tracks.csv. Planted faults:
jazz/{last}.wav: truncated, only the first {TRUNCATED_SECONDS:g} s of sound are left
reggae/{last}.wav: empty, 0 bytes
rock/{last}.wav: an exact duplicate of metal/{last}.wav
"""
    note = root / "README.txt"

    def is_made() -> bool:
        return note.is_file() and note.read_text(encoding="utf-8", errors="replace") == readme

    if is_made():
        return root
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        raise GtzanKerasError(
            f"{root}: holds something else, or a demo set made with other arguments or by another version; "
            "delete it, or name another folder"
        )
    if root.resolve() == Path.cwd():
        raise GtzanKerasError(f"{root}: the current folder cannot be replaced; name a new one")
    rows = _plan(tracks_per_genre, seed)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
            folder = Path(scratch) / root.name
            for genre in STYLES:
                (folder / genre).mkdir(parents=True)
            tasks = [(folder, row["track_id"], row["artist"], seconds, seed) for row in rows]
            written = in_parallel(_write, tasks, [row["track_id"] for row in rows], jobs)
            list(tqdm(written, "demo set", len(tasks), unit="track", disable=None))
            lost = 2 * (round(seconds * SAMPLE_RATE) - round(TRUNCATED_SECONDS * SAMPLE_RATE))
            truncated = folder / "jazz" / f"{last}.wav"
            os.truncate(truncated, truncated.stat().st_size - lost)
            (folder / "reggae" / f"{last}.wav").write_bytes(b"")
            shutil.copyfile(folder / "metal" / f"{last}.wav", folder / "rock" / f"{last}.wav")
            for row in rows:
                row["wav_md5"] = file_md5(folder / f"{row['track_id']}.wav")
            pd.DataFrame(rows).to_csv(folder / "tracks.csv", index=False, lineterminator="\n")
            (folder / "README.txt").write_text(readme, encoding="utf-8")
            try:
                if root.exists():
                    root.rmdir()  # it is empty, and not every system renames onto a folder
                folder.rename(root)
            except OSError:
                if not is_made():  # by another process, meanwhile
                    raise
    except OSError as error:
        raise GtzanKerasError(f"{root}: cannot be written ({error})") from error
    return root


def _rng(seed: int, genre: str, *key: int) -> np.random.Generator:
    """An independent stream for every artist (0, number) and track (1, number) of a genre."""
    return np.random.default_rng(np.random.SeedSequence((seed, list(STYLES).index(genre), *key)))


def _plan(count: int, seed: int) -> list[dict[str, str]]:
    """The table of tracks, all but the MD5s: artists of similar size, each in one part."""
    rows: dict[str, dict[str, str]] = {}
    artists = max(3, round(count / 3.5))
    for genre in STYLES:
        part_of, missing = {}, {part: share * count for part, share in PARTS.items()}
        artist_of = [index * artists // count for index in range(count)]
        for artist in range(artists):
            part_of[artist] = max(missing, key=missing.__getitem__)
            missing[part_of[artist]] -= artist_of.count(artist)
        for index, artist in enumerate(artist_of):
            rng, track_id = _rng(seed, genre, 1, index), f"{genre}/demo.{index:05d}"
            title = " ".join(_pick(words, rng) for words in TITLE_WORDS)
            facts = (track_id, genre, f"demo artist {genre} {artist + 1}", title, "", part_of[artist], "")
            rows[track_id] = dict(zip(FACT_COLUMNS, facts, strict=True))
    last = f"demo.{count - 1:05d}"
    original, copy = rows[f"metal/{last}"], rows[f"rock/{last}"]
    copy |= {"artist": original["artist"], "title": original["title"]}
    original["exact_duplicate_of"], copy["exact_duplicate_of"] = copy["track_id"], original["track_id"]
    for genre in ("jazz", "reggae", "rock"):
        rows[f"{genre}/{last}"]["fault_filtered"] = "excluded"
    return list(rows.values())


def _write(folder: Path, track_id: str, artist: str, seconds: float, seed: int) -> None:
    import soundfile

    genre, index = track_id.split("/demo.")
    # Starts again in every track, so all tracks of an artist draw the same numbers.
    player = _rng(seed, genre, 0, int(artist.split()[-1]))
    samples = _track(genre, seconds, player, _rng(seed, genre, 2, int(index)))
    soundfile.write(folder / f"{track_id}.wav", samples, SAMPLE_RATE, subtype="PCM_16")


def _pick(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]


def _track(genre: str, seconds: float, artist: np.random.Generator, rng: np.random.Generator) -> Samples:
    """Compose one track, play its four parts and mix them.

    `artist` draws what the tracks of an artist share: instruments, balance, room, equaliser, level.
    It must be called in the same way in every track.
    """
    style = STYLES[genre]
    if rng.random() < BORROWING:
        other, fields = STYLES[_pick(style["neighbours"], rng)], _pick(BORROWED, rng)
        style = style | {field: other[field] for field in fields}
    n, beat = round(seconds * SAMPLE_RATE), 60 / rng.uniform(*style["tempo"])
    beats, place = np.divmod(np.arange(16 * (int(seconds / (4 * beat)) + 2)) / 4, 1)
    times = (beats + np.interp(place, [0, 0.5, 1], [0, style["swing"], 1])) * beat
    times += rng.normal(0, 0.004, len(times)) - rng.random() * 4 * beat  # begins anywhere in a bar
    progression = _pick(PROGRESSIONS, rng)
    roots = [int(progression[step // 16 % len(progression)]) for step in range(len(times))]

    groove, bass, comping = (_pick(style[part], rng) for part in ("grooves", "bass", "comping"))
    phrase = np.cumsum(rng.integers(-2, 3, 16)).clip(-6, 8)
    sings = rng.random(16) < style["melody"]
    parts: list[list[tuple[float, int, float]]] = [[], [], []]  # (s, scale degree, loudness)
    for step, (time, root) in enumerate(zip(times.tolist(), roots, strict=True)):
        if (mark := bass[step % 16]) != ".":
            parts[0].append((time, root + int(mark), 1.0))
        if (mark := comping[step % 16]) != ".":
            parts[1] += [(time, root + up, LOUDNESS[mark]) for up in style["chord"]]
        if step % 2 == 0 and sings[step // 2 % 16]:
            change = int(rng.integers(-2, 3)) * (rng.random() < 0.25)
            parts[2].append((time, int(phrase[step // 2 % 16]) + change, rng.uniform(0.6, 1)))

    choice, rolloff, pitch = artist.random(3), artist.uniform(-0.3, 0.3), artist.uniform(0.8, 1.25)
    gains = 10 ** (artist.normal(LEVELS, 1.5) / 20)
    key = int(rng.integers(-5, 7)) + np.array(_pick(SCALES, rng))
    mix = gains[0] * _drums(n, GROOVES[groove], pitch, times, rng)
    holds, octaves = (1.8, style["hold"], 3.0), (36, 55, 67)
    for number, notes in enumerate(parts):
        names = style["voices"][number]
        voice = VOICES[names[int(choice[number] * len(names))]]
        voice = voice._replace(rolloff=voice.rolloff + rolloff)
        mix += gains[number + 1] * _play(n, voice, notes, octaves[number] + key, holds[number] * beat / 4)
    return _record(mix, style, artist, rng)


def _play(
    n: int, voice: Voice, notes: Iterable[tuple[float, int, float]], key: npt.NDArray[np.int_], hold: float
) -> Samples:
    """Play one part; `key` holds the seven pitches (MIDI) of its scale, notes last `hold` s."""
    out, tones = np.zeros(n, np.float32), {}
    for time, degree, loudness in notes:
        if degree not in tones:
            tones[degree] = _tone(voice, key[degree % 7] + 12 * (degree // 7), hold)
        _add(out, tones[degree], time, loudness)
    out = np.tanh(voice.drive / _rms(out) * out) if voice.drive else out
    return out / _rms(out)


def _tone(voice: Voice, pitch: float, seconds: float) -> Samples:
    t = np.arange(round((seconds + 0.03) * SAMPLE_RATE), dtype=np.float32) / np.float32(SAMPLE_RATE)
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    phase = np.float32(2 * np.pi * frequency) * t + np.float32(voice.vibrato) * np.sin(np.float32(35) * t)
    z = np.exp(1j * phase - np.float32(voice.damp) * t)
    total = np.zeros_like(z)
    for k in range(min(14, int(0.45 * SAMPLE_RATE / frequency)), 0, -1):  # Horner: harmonics are powers of z
        total = (total + np.complex64(k**-voice.rolloff)) * z
    ends = np.minimum(1, t / voice.attack) * np.minimum(1, (t[-1] - t) / 0.03)
    return (total.imag * ends * np.exp(-t / voice.decay)).astype(np.float32)


def _drums(
    n: int, groove: Iterable[str], pitch: float, times: npt.NDArray[np.float64], rng: np.random.Generator
) -> Samples:
    t = np.arange(round(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.standard_normal(len(t))
    kick = np.sin(2 * np.pi * pitch * 55 * (t - 0.04 * np.exp(-t / 0.02))) * np.exp(-t / 0.1)
    snare = (np.sin(2 * np.pi * pitch * 200 * t) * np.exp(-t / 0.05) + noise) * np.exp(-t / 0.08)
    hat = np.diff(noise, 2, prepend=(0, 0)) * np.exp(-t / 0.04)
    out = np.zeros(n, np.float32)
    for line, sound in zip(groove, (kick, 0.6 * snare, 0.25 * hat), strict=True):
        for step, time in enumerate(times):
            if (mark := line[step % 16]) != ".":
                _add(out, sound.astype(np.float32), time, LOUDNESS[mark] * rng.uniform(0.8, 1))
    return out / _rms(out)


def _add(out: Samples, sound: Samples, at: float, gain: float) -> None:
    """Add `sound` to `out` from `at` s on, as far as it is inside."""
    start = round(at * SAMPLE_RATE)
    begin, end = max(start, 0), min(start + len(sound), len(out))
    if begin < end:
        out[begin:end] += np.float32(gain) * sound[begin - start : end - start]


def _rms(sound: Samples) -> np.float32:
    return np.sqrt(np.mean(np.square(sound))) + np.float32(SILENCE)


def _record(
    sound: Samples, style: dict[str, Any], artist: np.random.Generator, rng: np.random.Generator
) -> Samples:
    """Add noise, reverberation and the equalisers of genre, artist and track, and set the peak.

    This is done in the spectrum of the whole track, so that the reverberation of the end falls on
    the beginning, as in an excerpt from the middle of a recording.
    """
    from scipy import fft

    n, t = len(sound), np.arange(len(sound), dtype=np.float32) / np.float32(SAMPLE_RATE)
    noise = rng.standard_normal((2, n), np.float32)
    floor = np.float32(10 ** (artist.uniform(-70, -40) / 20))
    spectrum = fft.rfft(sound / (np.abs(sound).max() + SILENCE) + floor * noise[0])
    room = noise[1] * np.exp(np.float32(-6.9 / (style["tail"] * artist.uniform(0.5, 1.5))) * t)
    spectrum *= 1 + np.float32(artist.uniform(0.05, 0.5) / np.linalg.norm(room)) * fft.rfft(room)

    frequencies = fft.rfftfreq(n, 1 / SAMPLE_RATE) + 1
    tone = np.interp(np.log(EQ_POINTS), np.log((80, 800, 8000)), style["tone"])
    curve = artist.normal(tone, 2.5) + rng.normal(0, 1, len(EQ_POINTS))
    curve = 10 ** (np.interp(np.log(frequencies), np.log(EQ_POINTS), curve) / 20)
    curve /= np.sqrt(1 + (artist.uniform(20, 90) / frequencies) ** 4)
    curve /= np.sqrt(1 + (frequencies / artist.uniform(5500, 10500)) ** 8)
    sound = fft.irfft(spectrum * curve.astype(np.float32), n)
    return (sound * (10 ** (artist.uniform(-10, -1) / 20) / np.abs(sound).max())).astype(np.float32)
