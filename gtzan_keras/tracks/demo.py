"""The demo set: a synthesised folder in GTZAN's shape, for trying everything out where no data is.

Ten procedures, one a genre, play from the tables below. They differ more in time (tempo, metre, drum
pattern, how long notes ring) than in the mean spectrum, over which every artist lays an equaliser of
their own; and neighbouring genres borrow from each other. A linear model on the means of 64 log-mel
bands gets about 60 % right (plain folds; 50 % with artists kept apart), one that also hears rhythm 80 %.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

__all__ = ["SAMPLE_RATE", "VERSION", "make"]

Samples = npt.NDArray[np.float32]
T = TypeVar("T")

SAMPLE_RATE = 22050
VERSION = 1
"""Raised whenever the same arguments would give other sound."""

FAULTS = {"jazz": "truncated", "reggae": "empty"}  # the last track of each
DUPLICATE_GENRES = ("metal", "rock")  # the last track of one is copied over that of the other
TRUNCATED_SECONDS = 0.4
PARTS = {"train": 0.5, "valid": 0.2, "test": 0.3}
TITLE_WORDS = (
    ("Slow", "Blue", "Broken", "Golden", "Distant", "Paper", "Electric", "Quiet", "Last", "Hidden"),
    ("River", "Street", "Morning", "Engine", "Garden", "Signal", "Mirror", "Winter", "Road", "Sea"),
)


class Voice(NamedTuple):
    """How an instrument sounds."""

    rolloff: float  # harmonic k has amplitude k ** -rolloff
    even: float = 1.0  # weight of the even harmonics
    damp: float = 0.0  # 1/s by which each harmonic fades faster than the one below it
    attack: float = 0.01  # s
    decay: float = 9.0  # s, time constant
    vibrato: float = 0.0  # cents
    glide: float = 0.0  # cents below the pitch where a note starts
    drive: float = 0.0  # distortion; 0 is clean


VOICES = {
    "bow": Voice(1.2, attack=0.09, vibrato=14),
    "electric piano": Voice(2.0, even=0.3, damp=0.4, decay=0.7),
    "fuzz": Voice(0.9, damp=0.2, decay=2.0, drive=6.0),
    "horn": Voice(1.1, attack=0.04, vibrato=12, glide=30),
    "organ": Voice(1.0, even=0.5, attack=0.01),
    "overdrive": Voice(1.1, damp=0.3, decay=1.5, glide=15, vibrato=8, drive=2.0),
    "piano": Voice(1.4, damp=0.5, attack=0.004, decay=0.8),
    "pluck": Voice(1.2, damp=1.0, attack=0.003, decay=0.35),
    "reed": Voice(1.0, even=0.2, attack=0.03, vibrato=20),
    "steel": Voice(1.1, damp=0.4, attack=0.005, decay=1.0, glide=120, vibrato=15),
    "sub": Voice(2.6, damp=0.2, attack=0.008, decay=0.6, glide=-200),
    "synth": Voice(0.9, damp=0.1, attack=0.015, decay=3.0),
    "twang": Voice(0.9, damp=0.8, attack=0.002, decay=0.5, glide=20),
    "upright": Voice(1.9, damp=0.8, attack=0.008, decay=0.5, glide=20),
}


class Kit(NamedTuple):
    """How the drums sound: pitches in Hz, decays in s."""

    kick_pitch: float
    kick_decay: float
    snare_pitch: float
    snare_decay: float
    hat_decay: float
    snare_level: float = 0.7
    hat_level: float = 0.25


KITS = {
    "acoustic": Kit(55, 0.09, 190, 0.07, 0.03),
    "boom": Kit(45, 0.22, 210, 0.06, 0.02),
    "brushes": Kit(60, 0.06, 240, 0.10, 0.09, snare_level=0.35, hat_level=0.3),
    "heavy": Kit(60, 0.06, 180, 0.09, 0.05),
    "machine": Kit(50, 0.12, 220, 0.08, 0.04),
}

SCALES = {
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}

# A line of sixteen steps makes a bar (twelve in 3/4). Drums and chords: X loud, x, - soft, . rest.
# Bass: the digit is how many scale steps above the chord's root. Drums: kick, snare, hat.
LOUDNESS = {"X": 1.0, "x": 0.7, "-": 0.4}
BACKBEAT = ("X.......X.......", "....X.......X...", "x.x.x.x.x.x.x.x.")
PUSHED = ("X.....x.X.x.....", "....X.......X..-", "x.x.x.x.x.x.x.x.")
FLOOR = ("X...X...X...X...", "....X.......X...", "..X...X...X...X.")
FLOOR_BUSY = ("X...X...X...X...", "....X.......X.-.", "x-X-x-X-x-X-x-X-")
BOOM_CHICK = ("X.......X.......", "....x.......x...", "..-...-...-...-.")
TRAIN = ("X...x...X...x...", "--X---X---X---X-", "x...x...x...x...")
SHUFFLE = ("X...x...X...x...", "....X.......X...", "x.x.x.x.x.x.x.x.")
RIDE = ("x.....-.........", "....-.......-.-.", "X...X.x.X...X.x.")
BRUSHED = ("-...............", "x.-.x.-.x.-.x.-.", "....X.......X...")
BOOM_BAP = ("X.....x..xX.....", "....X.......X...", "x.x.x.x.x.x.x.x.")
TRAP = ("X..x......x..x..", "........X.......", "xxx-xxx-xx-xXxxx")
BLAST = ("XxXxXxXxXxXxXxXx", "..X...X...X...X.", "X...X...X...X...")
GALLOP = ("X.xxX.xxX.xxX.xx", "....X.......X...", "X...X...X...X...")
ONE_DROP = ("........X.......", "........X.......", "x.x.x.x.x.x.x.x.")
STEPPERS = ("X...X...X...X...", "........X.......", "..x...x...x...x.")
NO_DRUMS = ("................", "................", "................")


@dataclass(frozen=True)
class Style:
    """What a genre plays; ranges are (low, high), and each track draws from the tuples."""

    tempo: tuple[float, float]  # beats a minute
    metres: tuple[int, ...]  # beats a bar
    swing: tuple[float, float]  # where the second eighth stands in the beat; 0.5 is straight
    grooves: tuple[tuple[str, str, str], ...]
    kits: tuple[str, ...]
    scales: tuple[str, ...]
    chord: tuple[int, ...]  # scale steps above the root
    progressions: tuple[tuple[int, ...], ...]  # roots as scale degrees, one a bar
    bass: tuple[str, ...]
    bass_voices: tuple[str, ...]
    comping: tuple[str, ...]
    hold: float  # steps that a chord lasts
    comping_voices: tuple[str, ...]
    lead_density: float  # share of eighths on which the lead starts a note
    lead_hold: float  # steps
    lead_voices: tuple[str, ...]
    levels: tuple[float, float, float, float]  # dB: drums, bass, comping, lead
    tone: tuple[float, float, float]  # dB at 80, 800 and 8000 Hz
    tail: tuple[float, float]  # s of reverberation
    dynamics: float  # dB by which loudness wanders
    compression: float  # 0 none .. 1 flat
    rubato: float = 0.0  # s by which the beat wanders
    noise: tuple[float, float] = (-70.0, -45.0)  # dB re full level


STYLES = {
    "blues": Style(
        tempo=(70, 110), metres=(4,), swing=(0.62, 0.68), grooves=(SHUFFLE,), kits=("acoustic",),
        scales=("mixolydian", "dorian"), chord=(0, 2, 4, 6),
        progressions=((0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4), (0, 3, 0, 0, 3, 3, 0, 0, 4, 3, 0, 0)),
        bass=("0...2...4...5...", "0.0.4.4.5.5.4.4."), bass_voices=("upright", "pluck"),
        comping=("x...x...x...x...", "X.x.....X.x....."), hold=2.0,
        comping_voices=("piano", "pluck", "overdrive"),
        lead_density=0.45, lead_hold=5.0, lead_voices=("overdrive", "reed", "steel"),
        levels=(-4, -4, -8, -3), tone=(1, 4, -4), tail=(0.2, 0.7), dynamics=3, compression=0.3,
    ),
    "classical": Style(
        tempo=(60, 140), metres=(3, 4, 4), swing=(0.5, 0.5), grooves=(NO_DRUMS,), kits=("brushes",),
        scales=("major", "minor", "harmonic minor"), chord=(0, 2, 4),
        progressions=((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 2, 3, 0, 3, 4)),
        bass=("0...............", "0.......4......."), bass_voices=("bow", "piano"),
        comping=("x.x.x.x.x.x.x.x.", "X...............", "X...x...x...x..."), hold=4.0,
        comping_voices=("bow", "piano", "pluck"),
        lead_density=0.6, lead_hold=3.0, lead_voices=("bow", "piano", "reed"),
        levels=(-10, -5, -6, -2), tone=(-5, 0, -9), tail=(0.6, 2.0), dynamics=9, compression=0.0,
        rubato=0.12,
    ),
    "country": Style(
        tempo=(95, 140), metres=(4, 4, 3), swing=(0.5, 0.56),
        grooves=(BOOM_CHICK, TRAIN), kits=("acoustic", "brushes"),
        scales=("major", "mixolydian"), chord=(0, 2, 4),
        progressions=((0, 0, 3, 0, 4, 4, 0, 0), (0, 3, 4, 0), (0, 4, 0, 3, 0, 4, 0, 0)),
        bass=("0.......4.......",), bass_voices=("upright", "pluck"),
        comping=("....X.......X...", "..x.X.x...x.X.x."), hold=1.5, comping_voices=("twang", "pluck"),
        lead_density=0.4, lead_hold=4.0, lead_voices=("steel", "twang", "bow"),
        levels=(-6, -3, -5, -4), tone=(-5, 2, 3), tail=(0.2, 0.6), dynamics=3, compression=0.4,
    ),
    "disco": Style(
        tempo=(108, 132), metres=(4,), swing=(0.5, 0.5),
        grooves=(FLOOR, FLOOR_BUSY), kits=("acoustic", "machine"),
        scales=("minor", "dorian"), chord=(0, 2, 4, 6),
        progressions=((0, 5, 6, 0), (0, 3, 0, 4), (5, 6, 0, 0)),
        bass=("0.7.0.7.0.7.0.7.", "0..70..70..7047."), bass_voices=("pluck", "synth"),
        comping=("..x.-.x-..x.-.x-", "x..x..x.x..x..x."), hold=1.0,
        comping_voices=("pluck", "electric piano", "bow"),
        lead_density=0.35, lead_hold=5.0, lead_voices=("bow", "horn", "synth"),
        levels=(-2, -4, -6, -5), tone=(3, -3, 4), tail=(0.2, 0.8), dynamics=2, compression=0.5,
    ),
    "hiphop": Style(
        tempo=(76, 100), metres=(4,), swing=(0.5, 0.6), grooves=(BOOM_BAP, TRAP), kits=("boom", "machine"),
        scales=("minor", "dorian", "phrygian"), chord=(0, 2, 4, 6),
        progressions=((0, 0, 5, 5), (0, 0, 0, 0), (0, 3)),
        bass=("0.....0..00.....", "0..0......0..0.."), bass_voices=("sub", "pluck"),
        comping=("X...............", "x.....x.........", "X..x..X..x..X..."), hold=3.0,
        comping_voices=("electric piano", "piano", "bow"),
        lead_density=0.25, lead_hold=2.0, lead_voices=("synth", "pluck", "horn"),
        levels=(-1, -3, -8, -8), tone=(9, -5, 0), tail=(0.1, 0.5), dynamics=2, compression=0.5,
        noise=(-60, -35),
    ),
    "jazz": Style(
        tempo=(110, 190), metres=(4, 4, 3), swing=(0.58, 0.68), grooves=(RIDE, BRUSHED), kits=("brushes",),
        scales=("dorian", "major", "mixolydian"), chord=(0, 2, 4, 6, 8),
        progressions=((1, 4, 0, 5), (0, 5, 1, 4), (0, 3, 2, 5, 1, 4, 0, 0)),
        bass=("0...2...4...6...", "0...4...2...1..."), bass_voices=("upright",),
        comping=("x.....x.........", "......x...x.....", "..x.......x....."), hold=2.0,
        comping_voices=("piano", "electric piano", "pluck"),
        lead_density=0.65, lead_hold=2.0, lead_voices=("reed", "horn", "piano"),
        levels=(-6, -4, -8, -3), tone=(3, 0, -7), tail=(0.3, 1.0), dynamics=5, compression=0.1,
        noise=(-60, -40),
    ),
    "metal": Style(
        tempo=(125, 185), metres=(4,), swing=(0.5, 0.5),
        grooves=(BLAST, GALLOP), kits=("heavy", "acoustic"),
        scales=("phrygian", "harmonic minor", "minor"), chord=(0, 4, 7),
        progressions=((0, 0, 1, 0), (0, 0, 5, 6), (0, 1, 0, 4)),
        bass=("0000000000000000", "0.000.000.000.00"), bass_voices=("pluck", "fuzz"),
        comping=("X-x-X-x-X-x-X-x-", "X.xxX.xxX.xxX.xx", "X...x.xxX...X..."), hold=1.0,
        comping_voices=("fuzz", "fuzz", "overdrive"),
        lead_density=0.5, lead_hold=2.0, lead_voices=("fuzz", "overdrive"),
        levels=(-3, -5, -3, -7), tone=(-1, -5, 7), tail=(0.1, 0.4), dynamics=1, compression=0.7,
    ),
    "pop": Style(
        tempo=(92, 122), metres=(4,), swing=(0.5, 0.52),
        grooves=(BACKBEAT, PUSHED), kits=("machine", "acoustic"),
        scales=("major", "minor"), chord=(0, 2, 4), progressions=((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4)),
        bass=("0.0.0.0.0.0.0.0.", "0.....0.0.......", "0.......0......."),
        bass_voices=("synth", "pluck", "sub"),
        comping=("X.......X.......", "x.x.x.x.x.x.x.x.", "X..x..x.X..x..x."), hold=6.0,
        comping_voices=("synth", "piano", "pluck"),
        lead_density=0.45, lead_hold=4.0, lead_voices=("synth", "reed", "horn"),
        levels=(-2, -4, -6, -3), tone=(2, 1, 7), tail=(0.2, 0.9), dynamics=2, compression=0.6,
    ),
    "reggae": Style(
        tempo=(66, 86), metres=(4,), swing=(0.5, 0.6),
        grooves=(ONE_DROP, STEPPERS), kits=("acoustic", "boom"),
        scales=("minor", "dorian", "major"), chord=(0, 2, 4),
        progressions=((0, 3, 0, 3), (0, 6, 0, 6), (0, 3, 4, 3)),
        bass=("0..0..2.4.......", "....0.0.2.4.0..."), bass_voices=("sub", "pluck"),
        comping=("..X...X...X...X.", "..X-..X-..X-..X-"), hold=0.8,
        comping_voices=("organ", "pluck", "electric piano"),
        lead_density=0.25, lead_hold=5.0, lead_voices=("reed", "organ", "horn"),
        levels=(-4, -2, -4, -6), tone=(8, 0, -5), tail=(0.3, 1.2), dynamics=2, compression=0.3,
    ),
    "rock": Style(
        tempo=(110, 155), metres=(4,), swing=(0.5, 0.53),
        grooves=(BACKBEAT, PUSHED), kits=("acoustic", "heavy"),
        scales=("mixolydian", "minor", "major"), chord=(0, 4, 7),
        progressions=((0, 6, 3, 0), (0, 3, 4, 4), (0, 0, 3, 4)),
        bass=("0.0.0.0.0.0.0.0.", "0...0.0.0...0.4."), bass_voices=("pluck",),
        comping=("X.x.X.x.X.x.X.x.", "X...x.x.X.....x.", "X.......X......."), hold=3.0,
        comping_voices=("overdrive", "fuzz", "twang"),
        lead_density=0.4, lead_hold=4.0, lead_voices=("overdrive", "fuzz", "reed"),
        levels=(-3, -5, -4, -5), tone=(-1, 4, 2), tail=(0.2, 0.6), dynamics=2, compression=0.5,
    ),
}  # fmt: skip

# Genres that take from each other, and what a track may take.
NEIGHBOURS = {
    "blues": ("rock", "country", "jazz"),
    "classical": ("jazz",),
    "country": ("rock", "blues", "pop"),
    "disco": ("pop", "hiphop"),
    "hiphop": ("pop", "disco", "reggae"),
    "jazz": ("blues", "classical"),
    "metal": ("rock",),
    "pop": ("disco", "hiphop", "rock"),
    "reggae": ("hiphop", "pop"),
    "rock": ("metal", "blues", "country", "pop"),
}
BORROWED = (
    ("grooves", "kits"),
    ("bass", "bass_voices"),
    ("comping_voices", "lead_voices", "levels"),
    ("tempo", "swing"),
)
BORROWING = 0.25
"""Share of tracks that take something from a neighbouring genre."""

PAUSING = (0.1, 0.1, 0.15, 0.35)  # how often drums, bass, comping and lead pause for four bars
OCTAVES = (36, 55, 67)  # MIDI pitches about which bass, comping and lead play
BASS_HOLD = 1.8  # steps
RELEASE = 0.03  # s
HARMONICS = 14
SILENCE = 1e-9

EQ_POINTS = np.geomspace(40, SAMPLE_RATE / 2, 10)
ARTIST_EQ = 2.5  # dB, standard deviation at each of the points
TRACK_EQ = 1.0
ARTIST_BALANCE = 1.5  # dB


class _Note(NamedTuple):
    """A note or a chord in a part."""

    step: int
    degrees: tuple[int, ...]
    hold: float  # steps
    loudness: float


@dataclass(frozen=True)
class _Job:
    """One file to make."""

    genre: str  # where it stands
    index: int
    player: str  # the genre it was made as; another one only for the duplicate
    artist: int  # of the player's genre
    part: str
    duplicate_of: str = ""
    fault: str = ""

    @property
    def track_id(self) -> str:
        return f"{self.genre}/demo.{self.index:05d}"


def make(
    root: str | os.PathLike[str],
    tracks_per_genre: int = 20,
    seconds: float = 30.0,
    seed: int = 0,
    jobs: int = -1,
) -> Path:
    """Synthesise the demo set: ten genre-like folders of WAV files, with faults planted as in GTZAN.

    Beside the folders stand ``tracks.csv``, with the columns of the package's own table of GTZAN,
    and ``README.txt``. The last track of jazz is truncated, the last of reggae is an empty file,
    and the last of rock is a copy of the last of metal. The same arguments give the same bytes on
    the same machine. A folder that already holds this demo set is returned as it is.

    Parameters
    ----------
    root : str or os.PathLike
        The folder to make; parents are made as needed. It must be absent or empty.
    tracks_per_genre : int >= 3
        Tracks in each genre, by artists with two to five tracks each (one, in the smallest sets).
    seconds : float >= 1 [seconds]
        Length of a track.
    seed : int >= 0
        Another seed gives other artists and other music.
    jobs : int
        Processes, as joblib counts them; -1 is one a core. It does not change the result.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or `root` holds something else.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.tracks import demo
    >>> root = demo.make(tempfile.mkdtemp(), tracks_per_genre=3, seconds=1, jobs=1)
    >>> sorted(path.name for path in (root / "blues").iterdir())
    ['demo.00000.wav', 'demo.00001.wav', 'demo.00002.wav']
    """
    import pandas as pd
    from joblib import Parallel, delayed
    from tqdm import tqdm

    for name, value, least in (
        ("tracks_per_genre", tracks_per_genre, 3),
        ("seconds", seconds, 1),
        ("seed", seed, 0),
    ):
        if not value >= least:
            raise GtzanKerasError(f"demo set: {name}={value} is too small, at least {least} needed")
    root = Path(root)
    readme = _readme(tracks_per_genre, seconds, seed)
    if _is_made(root, readme):
        return root

    todo = _plan(tracks_per_genre, seed)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
        folder = Path(scratch) / root.name
        for genre in STYLES:
            (folder / genre).mkdir(parents=True)
        rows = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(_write)(folder, job, seconds, seed) for job in todo
        )
        rows = list(tqdm(rows, "demo set", len(todo), unit="track", disable=None))
        pd.DataFrame(rows).to_csv(folder / "tracks.csv", index=False, lineterminator="\n")
        (folder / "README.txt").write_text(readme, encoding="utf-8")
        if root.exists():
            root.rmdir()  # it is empty, and not every system renames onto a folder
        folder.rename(root)
    return root


def _is_made(root: Path, readme: str) -> bool:
    """Whether `root` holds the demo set `readme` tells of; refuses what is in the way."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise GtzanKerasError(f"{root}: is a file; name a folder for the demo set")
    if not any(root.iterdir()):
        return False
    note = root / "README.txt"
    found = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else ""
    if found == readme:
        return True
    if found.startswith(readme.splitlines()[0]):
        raise GtzanKerasError(
            f"{root}: holds a demo set made with other arguments (see {note}); delete it or name "
            "another folder"
        )
    raise GtzanKerasError(f"{root}: is not empty and holds no demo set; name a new or empty folder")


def _readme(tracks_per_genre: int, seconds: float, seed: int) -> str:
    """The text beside the tracks; it also says whether a folder was made with given arguments."""
    last = f"demo.{tracks_per_genre - 1:05d}.wav"
    faults = {
        "truncated": f"truncated, only the first {TRUNCATED_SECONDS:g} s of sound left",
        "empty": "empty, 0 bytes",
    }
    planted = [f"{genre}/{last}: {faults[fault]}" for genre, fault in FAULTS.items()]
    original, copy = DUPLICATE_GENRES
    planted.append(f"{copy}/{last}: an exact duplicate of {original}/{last}")
    return f"""gtzan-keras demo set

Synthesised music-like sound in the shape of the GTZAN collection. It is not GTZAN: nobody played
it, artists and titles are invented, and figures measured on it say nothing about real music.

made by           gtzan_keras.tracks.demo.make, version {VERSION} of the synthesis
tracks_per_genre  {tracks_per_genre}
seconds           {seconds:g}
seed              {seed}

The facts of every track are in tracks.csv. Planted faults:
""" + "".join(f"{line}\n" for line in planted)


def _rng(seed: int, genre: str, *key: int) -> np.random.Generator:
    """A stream of its own for every artist (0, artist), track (1, index) and genre's plan (2,)."""
    return np.random.default_rng(np.random.SeedSequence((seed, list(STYLES).index(genre), *key)))


def _plan(count: int, seed: int) -> list[_Job]:
    """Every file of the set, faults included."""
    plan = {genre: _cast(genre, count, seed) for genre in STYLES}
    for genre, fault in FAULTS.items():
        plan[genre][-1] = replace(plan[genre][-1], fault=fault, part="excluded")
    original, copy = (plan[genre][-1] for genre in DUPLICATE_GENRES)
    plan[original.genre][-1] = replace(original, duplicate_of=copy.track_id)
    plan[copy.genre][-1] = replace(
        original, genre=copy.genre, duplicate_of=original.track_id, part="excluded"
    )
    return [job for jobs in plan.values() for job in jobs]


def _cast(genre: str, count: int, seed: int) -> list[_Job]:
    """Who plays which track of a genre, and in which part the artist stands."""
    artists = max(3, round(count / 3.5))
    sizes = np.full(artists, min(2, count // artists))
    rng = _rng(seed, genre, 2)
    while sizes.sum() < count:
        sizes[rng.choice(np.flatnonzero(sizes < max(5, sizes.min() + 1)))] += 1

    missing = {part: share * count for part, share in PARTS.items()}
    parts = {}
    for artist in np.argsort(-sizes, kind="stable"):
        parts[artist] = max(missing, key=missing.__getitem__)
        missing[parts[artist]] -= sizes[artist]
    players = np.repeat(np.arange(artists), sizes)
    return [_Job(genre, index, genre, int(who), parts[who]) for index, who in enumerate(players)]


def _write(folder: Path, job: _Job, seconds: float, seed: int) -> dict[str, str]:
    """Make one file, spoil it where a fault is planted, and return its row of the table."""
    import soundfile

    path = folder / f"{job.track_id}.wav"
    rng = _rng(seed, job.player, 1, job.index)
    title = " ".join(_pick(words, rng) for words in TITLE_WORDS)
    artist = _rng(seed, job.player, 0, job.artist)  # begins anew, so their tracks draw the same
    samples = _track(job.player, seconds, artist, rng)
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    if job.fault:
        lost = 2 * (len(samples) - int(TRUNCATED_SECONDS * SAMPLE_RATE))
        left = {"truncated": path.stat().st_size - lost, "empty": 0}
        os.truncate(path, left[job.fault])
    return {
        "track_id": job.track_id,
        "genre": job.genre,
        "artist": f"demo artist {job.player} {job.artist + 1}",
        "title": title,
        "wav_md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
        "fault_filtered": job.part,
        "exact_duplicate_of": job.duplicate_of,
    }


def _pick(options: Sequence[T], rng: np.random.Generator) -> T:
    """One of the options, with equal chances."""
    return options[int(rng.integers(len(options)))]


def _borrow(genre: str, rng: np.random.Generator) -> Style:
    """A genre's style, in some of its tracks with something from a neighbour."""
    neighbour, fields = STYLES[_pick(NEIGHBOURS[genre], rng)], _pick(BORROWED, rng)
    if rng.random() >= BORROWING:
        return STYLES[genre]
    return replace(STYLES[genre], **{field: getattr(neighbour, field) for field in fields})


def _track(genre: str, seconds: float, artist: np.random.Generator, rng: np.random.Generator) -> Samples:
    """Compose one track, play its four parts (drums, bass, comping, lead) and mix them.

    `artist` draws what the tracks of an artist share: instruments, balance, room, equaliser,
    level. It must be asked the same in every track.
    """
    style = _borrow(genre, rng)
    metre, beat = _pick(style.metres, rng), 60 / rng.uniform(*style.tempo)
    bar = 4 * metre
    onsets = _onsets(style, metre, beat, seconds, rng)
    playing = _sections(len(onsets), 4 * bar, rng)
    progression = _pick(style.progressions, rng)
    roots = [progression[step // bar % len(progression)] for step in range(len(onsets))]

    drums = [_hits(line, bar, playing[0]) for line in _pick(style.grooves, rng)]
    bass = [
        _Note(step, (roots[step] + int(mark),), BASS_HOLD, 1.0)
        for step, mark in _hits(_pick(style.bass, rng), bar, playing[1])
    ]
    comping = [
        _Note(step, tuple(roots[step] + up for up in style.chord), style.hold, LOUDNESS[mark])
        for step, mark in _hits(_pick(style.comping, rng), bar, playing[2])
    ]
    lead = [note for note in _melody(style, len(onsets), 2 * bar, rng) if playing[3, note.step]]

    n = round(seconds * SAMPLE_RATE)
    kit, *voices = (
        options[int(share * len(options))]
        for options, share in zip(
            (style.kits, style.bass_voices, style.comping_voices, style.lead_voices),
            artist.random(4),
            strict=True,
        )
    )
    rolloff, drum_pitch = artist.uniform(-0.3, 0.3), artist.uniform(0.8, 1.25)
    parts = [_drums(n, KITS[kit], drum_pitch, drums, onsets, rng)]
    key = int(rng.integers(-5, 7)) + np.array(SCALES[_pick(style.scales, rng)])
    for voice, notes, octave in zip(voices, (bass, comping, lead), OCTAVES, strict=True):
        sounding = VOICES[voice]._replace(rolloff=VOICES[voice].rolloff + rolloff)
        parts.append(_notes(n, sounding, notes, octave + key, onsets, beat / 4))

    gains = 10 ** (artist.normal(style.levels, ARTIST_BALANCE) / 20)
    mix = np.zeros(n, dtype=np.float32)
    for part, gain in zip(parts, gains, strict=True):
        mix += part * np.float32(gain / _loudness(part))
    return _record(_dynamics(mix, style, rng), style, artist, rng)


def _onsets(
    style: Style, metre: int, beat: float, seconds: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """When each step sounds, in s; the track begins within a bar, as an excerpt does."""
    bars = int(seconds / (beat * metre)) + 3
    beats, place = np.divmod(np.arange(4 * metre * bars) / 4, 1)
    times = (beats + np.interp(place, [0, 0.5, 1], [0, rng.uniform(*style.swing), 1])) * beat
    times += style.rubato * np.sin(2 * np.pi * (times / rng.uniform(4, 9) + rng.random()))
    times += rng.normal(0, 0.004, len(times)) - rng.random() * metre * beat
    return times[times < seconds]


def _sections(steps: int, length: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which of the four parts play at each step; bass and comping are never silent together."""
    silent = rng.random((4, steps // length + 2)) < np.array(PAUSING)[:, None]
    silent[2] &= ~silent[1]
    begin = int(rng.integers(length))
    return np.repeat(~silent, length, axis=1)[:, begin : begin + steps]


def _hits(line: str, bar: int, playing: npt.NDArray[np.bool_]) -> list[tuple[int, str]]:
    """The steps at which a line, repeated every bar, has a mark, and the mark."""
    steps = np.flatnonzero(playing).tolist()
    return [(step, line[step % bar]) for step in steps if line[step % bar] != "."]


def _melody(style: Style, steps: int, length: int, rng: np.random.Generator) -> list[_Note]:
    """One phrase, repeated to the end with now and then another note."""
    eighths = np.arange(0, length, 2)
    starts = eighths[rng.random(len(eighths)) < style.lead_density]
    phrase = np.cumsum(rng.integers(-2, 3, len(starts)))
    notes = []
    for begin in range(0, steps, length):
        varied = phrase + rng.integers(-2, 3, len(phrase)) * (rng.random(len(phrase)) < 0.25)
        for start, degree in zip(starts.tolist(), np.clip(varied, -6, 8).tolist(), strict=True):
            hold = style.lead_hold * (1.0 if rng.random() < 0.7 else 0.5)
            notes.append(_Note(begin + start, (degree,), hold, rng.uniform(0.6, 1.0)))
    return [note for note in notes if note.step < steps]


def _notes(
    n: int,
    voice: Voice,
    notes: list[_Note],
    key: npt.NDArray[np.int_],
    onsets: npt.NDArray[np.float64],
    step: float,
) -> Samples:
    """Play one part; `key` holds the seven pitches (MIDI) of its scale, `step` is in s."""
    out = np.zeros(n, dtype=np.float32)
    played: dict[tuple[tuple[int, ...], float], Samples] = {}
    for note in notes:
        sound = note.degrees, note.hold
        if sound not in played:
            pitches = [int(key[degree % 7]) + 12 * (degree // 7) for degree in note.degrees]
            tones = [_tone(voice, pitch, note.hold * step) for pitch in pitches]
            played[sound] = np.sum(tones, axis=0)
        _add(out, played[sound], onsets[note.step], note.loudness)
    return np.tanh(out * np.float32(voice.drive / _loudness(out))) if voice.drive else out


def _tone(voice: Voice, pitch: int, seconds: float) -> Samples:
    """One note: harmonics are the powers of z = exp(i phase - damp t), summed by Horner's rule."""
    t = np.arange(round((seconds + RELEASE) * SAMPLE_RATE)) / SAMPLE_RATE
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    cents = voice.vibrato * np.sin(2 * np.pi * 5.5 * t) * np.minimum(t / 0.3, 1)
    cents -= voice.glide * np.exp(-t / 0.05)
    phase = np.cumsum(2 ** (cents / 1200)) * (2 * np.pi * frequency / SAMPLE_RATE)
    z = np.exp(1j * phase - voice.damp * t).astype(np.complex64)

    k = np.arange(1, min(HARMONICS, int(0.45 * SAMPLE_RATE / frequency)) + 1)
    amplitudes = k**-voice.rolloff * np.where(k % 2, 1, voice.even)
    amplitudes /= np.sqrt(np.square(amplitudes).sum())
    total = np.zeros_like(z)
    for amplitude in amplitudes[::-1].astype(np.float32):
        total += amplitude
        total *= z
    envelope = np.minimum(t / voice.attack, 1) * np.exp(-t / voice.decay)
    envelope *= np.minimum((t[-1] - t) / RELEASE, 1)
    return total.imag * envelope.astype(np.float32)


def _drums(
    n: int,
    kit: Kit,
    pitch: float,
    lines: list[list[tuple[int, str]]],
    onsets: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> Samples:
    """Play kick, snare and hat, one line each."""
    t = np.arange(round(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.standard_normal(len(t))
    kick = np.sin(2 * np.pi * pitch * kit.kick_pitch * (t - 0.04 * np.exp(-t / 0.02)))
    rattle = np.sin(2 * np.pi * pitch * kit.snare_pitch * t) * np.exp(-t / 0.05) + noise
    hiss = np.diff(noise, 2, prepend=(0, 0))
    hits = (
        kick * np.exp(-t / kit.kick_decay),
        rattle * np.exp(-t / kit.snare_decay) * kit.snare_level,
        hiss * np.exp(-t / kit.hat_decay) * kit.hat_level,
    )
    out = np.zeros(n, dtype=np.float32)
    for hit, line in zip(hits, lines, strict=True):
        for step, mark in line:
            loudness = LOUDNESS[mark] * rng.uniform(0.8, 1.0)
            _add(out, hit.astype(np.float32), onsets[step], loudness)
    return out


def _add(out: Samples, sound: Samples, at: float, gain: float) -> None:
    """Add `sound` to `out` from `at` s on, as far as it lies inside."""
    start = round(at * SAMPLE_RATE)
    begin, end = max(start, 0), min(start + len(sound), len(out))
    if begin < end:
        out[begin:end] += np.float32(gain) * sound[begin - start : end - start]


def _loudness(sound: Samples) -> float:
    """Root mean square, with `SILENCE` on top so that one can divide by it."""
    return float(np.sqrt(np.mean(np.square(sound)))) + SILENCE


def _dynamics(sound: Samples, style: Style, rng: np.random.Generator) -> Samples:
    """Let the loudness wander, and compress what stands out of it."""
    block = SAMPLE_RATE // 20
    blocks = np.resize(sound, (-(-len(sound) // block), block))
    power = np.mean(np.square(blocks), axis=1)
    level = 10 * np.log10(power / (power.max() + SILENCE) + 1e-4)
    wander = rng.normal(0, style.dynamics / 2, len(level) // 60 + 2)
    gain = np.interp(np.arange(len(level)) / 60, np.arange(len(wander)), wander)
    gain -= style.compression * level
    curve = np.interp(np.arange(len(sound)) / block, np.arange(len(gain)) + 0.5, gain)
    return sound * (10 ** (curve / 20)).astype(np.float32)


def _record(sound: Samples, style: Style, artist: np.random.Generator, rng: np.random.Generator) -> Samples:
    """Add noise, reverberation and the artist's equaliser, and set the peak.

    All of it is done in the spectrum of the whole track, so that the reverberation of the end
    falls on the beginning: an excerpt begins in the music that went before.
    """
    from scipy import fft

    n = len(sound)
    floor = artist.uniform(*style.noise)
    noise = rng.standard_normal(n, dtype=np.float32) * np.float32(10 ** (floor / 20))
    spectrum = fft.rfft(sound / (np.abs(sound).max() + SILENCE) + noise)

    t = np.arange(n, dtype=np.float32) / np.float32(SAMPLE_RATE)
    tail = np.float32(artist.uniform(*style.tail))
    reverberation = rng.standard_normal(n, dtype=np.float32) * np.exp(np.log(0.001) * t / tail)
    wet = np.float32(artist.uniform(0.05, 0.5) / np.linalg.norm(reverberation))
    spectrum *= 1 + wet * fft.rfft(reverberation)

    frequencies = fft.rfftfreq(n, 1 / SAMPLE_RATE) + 1
    genre = np.interp(np.log(EQ_POINTS), np.log((80, 800, 8000)), style.tone)
    gains = artist.normal(genre, ARTIST_EQ) + rng.normal(0, TRACK_EQ, len(EQ_POINTS))
    curve = 10 ** (np.interp(np.log(frequencies), np.log(EQ_POINTS), gains) / 20)
    curve /= np.sqrt(1 + (artist.uniform(20, 90) / frequencies) ** 4)
    curve /= np.sqrt(1 + (frequencies / artist.uniform(5500, 10500)) ** 8)
    sound = fft.irfft(spectrum * curve.astype(np.float32), n)
    return sound * np.float32(10 ** (artist.uniform(-10, -1) / 20) / np.abs(sound).max())
