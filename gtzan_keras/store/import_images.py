"""Images to a store: a folder of them, for releases without sound; or another store's, resized."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from gtzan_keras.audio.spectrogram import SpectrogramSpec, coloured
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, Store, pack, write_store
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import describe, genre_of_folder, readable, track_id_of

__all__ = ["import_images", "resize"]

_SUFFIXES = (".png", ".jpg", ".jpeg")


def import_images(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    height: int = 224,
    width: int = 224,
    channels: int = 3,
) -> SpectrogramStore:
    """Make a store from images of spectrograms in genre folders, such as Kaggle's ``images_original``.

    White or transparent margins are cut off, then the image is resized. How the spectrograms were
    computed is not known, so a model trained on the store cannot be given sound.

    Parameters
    ----------
    folder : str or os.PathLike
        Holds ``<genre>/<image>.png`` (or JPEG); ``blues00000.png`` is track blues.00000.
    path : str or os.PathLike
        The HDF5 file to write.
    height, width : int > 0 [pixels]
        Size to resize to.
    channels : 1 or 3
        Grey or colour.

    Returns
    -------
    SpectrogramStore

    Raises
    ------
    GtzanKerasError
        There is no image in a genre folder, one cannot be read, or two are of the same track.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from PIL import Image
    >>> from gtzan_keras.store.import_images import import_images
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "blues").mkdir()
    >>> Image.fromarray(np.zeros((288, 432, 3), "uint8")).save(root / "blues" / "blues00000.png")
    >>> store = import_images(root, root / "images.h5")
    >>> store.shape, store.track_id.tolist()
    ((1, 224, 224, 3), ['blues.00000'])
    """
    folder = Path(folder)
    spec = SpectrogramSpec(
        name=f"images-{height}x{width}",
        clip_seconds=None,
        height=height,
        width=width,
        channels=channels,
        from_audio=False,
    )
    by_id: dict[str, Path] = {}
    for file in sorted(folder.glob("*/*")):
        # Not macOS's ``._`` files, nor a notebook's checkpoints.
        if file.suffix.lower() in _SUFFIXES and file.name[0] != "." and file.parent.name[0] != ".":
            if readable(file) != str(file):
                raise GtzanKerasError(
                    f"{readable(file)}: its name has control characters or invalid UTF-8; rename the file"
                )
            track_id = track_id_of(file.parent.name, file.name)
            if (other := by_id.setdefault(track_id, file)) != file:
                raise GtzanKerasError(f"{other} and {file} are both track {track_id}; remove one")
    if not by_id:
        raise GtzanKerasError(
            f"{folder}: no images in genre folders; expected for example {folder}/blues/blues00000.png"
        )
    tracks = describe({track_id: genre_of_folder(file.parent.name) for track_id, file in by_id.items()})
    with write_store(path, spec, tracks) as writer:
        for track_id in tqdm(tracks["track_id"], desc=spec.name, unit="image", disable=None):
            writer.append(Sample(track_id, pack([_read(by_id[track_id], spec)])))
    return SpectrogramStore(path)


def resize(
    store: Store,
    path: str | os.PathLike[str],
    height: int,
    width: int,
    colour_map: str | None = None,
) -> SpectrogramStore:
    """Make a store of another store's spectrograms in another size, for a network that needs that size.

    It adds no detail: from audio, `preprocess` with a spec of that size is better. Tracks, facts and
    segments are kept. A model trained on it also takes sound, which is analysed as before and then
    resized in one step; this differs by a little smoothing from resizing the spectrograms. It takes none
    if the store's spec cuts frames off (``fit="pad"``): one spec cannot say both.

    Parameters
    ----------
    store : SpectrogramStore
        A store of spectrograms or images.
    path : str or os.PathLike
        The HDF5 file to write; an existing one is replaced.
    height, width : int > 0 [pixels]
        New size; bilinear, as in `mel_image`.
    colour_map : str, optional
        A Matplotlib colour map that turns one channel into three.

    Returns
    -------
    SpectrogramStore

    Raises
    ------
    GtzanKerasError
        The store holds embeddings, or colours and a colour map is given; the colour map is not known; the
        size is below 1, or `path` is the store itself.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
    >>> from gtzan_keras.store.import_images import resize
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    >>> folder = tempfile.mkdtemp()
    >>> images = np.zeros((1, 8, 8), "uint8")
    >>> store = SpectrogramStore.from_arrays(f"{folder}/tiny.h5", images, ["pop.00000"], spec)
    >>> larger = resize(store, f"{folder}/larger.h5", 16, 12, "viridis")
    >>> larger.shape, larger.spec.name
    ((1, 16, 12, 3), 'tiny as 16x12 viridis')
    """
    if not isinstance(store.spec, SpectrogramSpec):
        raise GtzanKerasError(f"{store.path}: embeddings cannot be resized; expected spectrograms")
    if colour_map is not None and store.spec.channels != 1:
        raise GtzanKerasError(f"{store.path} is already in colour; omit colour_map={colour_map!r}")
    if Path(path).resolve() == store.path.resolve():
        raise GtzanKerasError(f"{path} is the input store; write the resized spectrograms to another file")
    spec = replace(
        store.spec,
        name=" ".join(filter(None, (f"{store.spec.name} as {height}x{width}", colour_map))),
        height=height,
        width=width,
        fit="resize",
        channels=store.spec.channels if colour_map is None else 3,
        colour_map=colour_map or store.spec.colour_map,
        from_audio=store.spec.from_audio and store.spec.fit != "pad",
    )

    def sized(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        flat = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        resized = np.asarray(flat.resize((width, height), Image.Resampling.BILINEAR))
        return resized.reshape(spec.shape) if colour_map is None else coloured(resized, colour_map)

    ids = [*dict.fromkeys(store.track_id), *store.refused]
    with write_store(path, spec, store.tracks) as writer:
        for track_id in tqdm(ids, desc=spec.name, unit="track", disable=None):
            chunks = pack(map(sized, store.read(store.rows([track_id]))))
            writer.append(replace(store.sample(track_id), chunks=chunks))
    return SpectrogramStore(path)


def _read(file: Path, spec: SpectrogramSpec) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(file) as opened:
            paper = Image.new("RGBA", opened.size, "white")
            image = Image.alpha_composite(paper, opened.convert("RGBA")).convert("RGB")
            exact = opened.format == "PNG"
    except Exception as error:  # every decoder of Pillow raises its own kind
        raise GtzanKerasError(f"{file}: not a readable image ({error}); replace or remove it") from error
    ink = 255 - np.asarray(image).min(axis=2)
    if not ink.any():
        raise GtzanKerasError(f"{file}: an empty (all white) image; replace or remove it")
    (top, bottom), (left, right) = _extent(ink, exact), _extent(ink.T, exact)
    mode = "L" if spec.channels == 1 else "RGB"
    resized = image.convert(mode).resize(
        (spec.width, spec.height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
    )
    return np.asarray(resized, dtype=np.uint8).reshape(spec.shape)


def _extent(ink: npt.NDArray[np.uint8], exact: bool) -> tuple[int, int]:
    """Return the first row that is not margin, and the first below. JPEG leaves shadows in its margins."""
    rows = ink.mean(axis=1)
    drawn = np.flatnonzero(rows > (0 if exact else np.percentile(rows, 90) / 4))
    return int(drawn[0]), int(drawn[-1]) + 1
