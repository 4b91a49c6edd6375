"""Folders of images to a store."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gtzan_keras.audio.spectrogram import SpectrogramSpec, mel_image
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, pack, write_store
from gtzan_keras.store.import_images import import_images, resize
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import describe


def paint(file: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(file, **options)
    return file


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Colours with no white among them."""
    return np.random.default_rng(seed).integers(250, size=(height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Like Kaggle's images_original."""
    root = tmp_path / "images_original"
    for seed, name in enumerate(["rock/rock00001", "blues/blues00007", "blues/blues00002", "jazz/jazz00000"]):
        paint(root / f"{name}.png", noise(20, 30, seed))
    return root


def test_tracks_are_known_by_name_come_in_class_order_and_hidden_files_are_none(folder, tmp_path):
    (folder / "blues" / "._blues00002.png").write_bytes(b"a Mac's shadow")
    paint(folder / ".ipynb_checkpoints" / "blues00002.png", noise(20, 30))
    store = import_images(folder, tmp_path / "x.h5", 20, 30)
    assert store.track_id.tolist() == ["blues.00002", "blues.00007", "jazz.00000", "rock.00001"]
    assert store.genres == ["blues", "jazz", "rock"]
    assert store.tracks.set_index("track_id").at["blues.00002", "artist"] == "John Lee Hooker"


@pytest.mark.parametrize("size", [(20, 30), (8, 12)])
def test_images_are_resized_as_pillow_does(folder, tmp_path, size):
    store = import_images(folder, tmp_path / "x.h5", *size)
    for row, seed in ((3, 0), (0, 2)):
        expected = Image.fromarray(noise(20, 30, seed)).resize(size[::-1], Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(store.read([row])[0], np.asarray(expected))


def test_one_channel_is_grey(folder, tmp_path):
    store = import_images(folder, tmp_path / "x.h5", 20, 30, channels=1)
    assert store.shape == (4, 20, 30, 1)
    red, green, blue = np.moveaxis(noise(20, 30, 0).astype(float), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601
    np.testing.assert_allclose(store.read([3])[0, :, :, 0], luma, atol=1)


@pytest.mark.parametrize("margin", ["white", "transparent"])
def test_margins_are_cut_off(tmp_path, margin):
    inside = noise(20, 30)
    paper = np.full((40, 60, 4), 255, np.uint8)
    paper[:, :, 3] = 0 if margin == "transparent" else 255
    paper[7:27, 12:42, :3], paper[7:27, 12:42, 3] = inside, 255
    paint(tmp_path / "in" / "pop" / "pop00000.png", paper)
    np.testing.assert_array_equal(import_images(tmp_path / "in", tmp_path / "x.h5", 20, 30).read()[0], inside)


SMOOTH = mpl.colormaps["viridis"](np.add.outer(np.arange(60), np.arange(90)) / 150, bytes=True)[..., :3]


@pytest.mark.parametrize(
    ("quality", "inside"), [(60, SMOOTH), (60, noise(60, 90)), (95, SMOOTH)], ids=["60", "60 noise", "95"]
)
def test_margins_of_jpegs_are_cut_off_in_spite_of_their_shadows(tmp_path, quality, inside):
    paper = np.full((100, 150, 3), 255, np.uint8)
    paper[13:73, 22:112] = inside
    with Image.open(paint(tmp_path / "in" / "pop" / "pop00000.jpg", paper, quality=quality)) as image:
        expected = np.asarray(image)[13:73, 22:112]
    store = import_images(tmp_path / "in", tmp_path / "x.h5", 60, 90)
    np.testing.assert_array_equal(store.read()[0], expected)


def test_palette_and_grey_images_and_jpegs_are_read(tmp_path):
    grey, pop = np.full((20, 30), 100, np.uint8), tmp_path / "in" / "pop"
    paint(pop / "a.png", grey)
    paint(pop / "b.png", grey, mode="P")
    paint(pop / "c.JPG", grey, quality=95)
    paint(pop / "d.jpeg", grey, mode="CMYK", quality=95)
    store = import_images(tmp_path / "in", tmp_path / "x.h5", 20, 30)
    assert store.track_id.tolist() == ["pop/a", "pop/b", "pop/c", "pop/d"]
    np.testing.assert_allclose(store.read(), 100, atol=3)


@pytest.mark.skipif(os.name == "nt", reason="every name is text")
def test_a_name_that_is_not_text_is_refused(folder, tmp_path):
    source = folder / "rock" / "rock00001.png"
    os.rename(source, os.fsencode(folder) + b"/rock/\xff.png")
    with pytest.raises(GtzanKerasError, match=r"rock/.*udcff\.png: its name has control characters or inv"):
        import_images(folder, tmp_path / "x.h5")


def test_what_cannot_be_imported_is_refused_by_name_and_leaves_nothing(folder, tmp_path):
    def refuse(message: str, source: Path = folder, **options: int) -> None:
        with pytest.raises(GtzanKerasError, match=message):
            import_images(source, tmp_path / "x.h5", 20, 30, **options)
        assert list(tmp_path.iterdir()) == [folder]

    refuse("channels is 2", channels=2)
    refuse(r"no images in genre folders.*blues/blues00000\.png", tmp_path)
    broken = folder / "jazz" / "jazz00001.png"
    content = bytearray((folder / "jazz" / "jazz00000.png").read_bytes())
    content[content.index(b"IDAT") - 1] -= 9  # the length of the chunk: what follows is none
    broken.write_bytes(content)
    refuse(r"jazz00001\.png: not a readable image.*replace or remove it")
    paint(broken, np.full((20, 30, 3), 255, np.uint8))
    refuse(r"jazz00001\.png: an empty \(all white\) image")
    paint(folder / "rock" / "rock.00001.jpg", noise(20, 30))
    refuse(r"are both track rock\.00001")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".png", ".jpg"]))
def test_a_damaged_image_is_read_or_refused_and_nothing_else(data, suffix, tmp_path):
    file = paint(tmp_path / suffix / "pop" / f"pop00000{suffix}", noise(6, 7))
    good = file.read_bytes()
    damaged = bytearray(good)
    damaged[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(damaged[: data.draw(st.integers(1, len(good)))])
    with contextlib.suppress(GtzanKerasError):
        import_images(tmp_path / suffix, tmp_path / "x.h5", 6, 7).close()
    assert not list(tmp_path.glob(".x*"))


# --- resize ------------------------------------------------------------------------------------------

GREY = SpectrogramSpec(name="grey", n_mels=20, height=20, width=30)


@pytest.fixture
def grey(tmp_path: Path) -> SpectrogramStore:
    images = np.random.default_rng(0).integers(256, size=(3, 20, 30), dtype=np.uint8)
    ids = ["pop.00003", "rock.00000", "rock.00000"]
    return SpectrogramStore.from_arrays(tmp_path / "grey.h5", images, ids, GREY)


def test_a_store_is_resized_as_pillow_does_and_coloured_as_matplotlib_does(grey, tmp_path):
    larger = resize(grey, tmp_path / "larger.h5", 40, 45)
    coloured = resize(grey, tmp_path / "coloured.h5", 20, 30, "viridis")
    assert (larger.shape, coloured.shape) == ((3, 40, 45, 1), (3, 20, 30, 3))
    sound = np.random.default_rng(0).normal(size=22050).astype(np.float32)
    assert mel_image(sound, coloured.spec).shape == (20, 30, 3)  # of predict
    for before, large, colours in zip(grey.read()[..., 0], larger.read(), coloured.read(), strict=True):
        expected = Image.fromarray(before).resize((45, 40), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(large[..., 0], expected)
        np.testing.assert_array_equal(colours, mpl.colormaps["viridis"](before, bytes=True)[..., :3])


def test_tracks_segments_and_what_was_left_out_stay_and_a_genre_that_is_left_out_is(tmp_path):
    tracks = describe({"rock.00000": "rock", "jazz.00054": "jazz", "pop.00000": "pop"})
    with write_store(tmp_path / "a.h5", GREY, tracks) as writer:
        image = np.zeros((20, 30, 1), np.uint8)
        writer.append(Sample("rock.00000", pack([image, image]), md5="abc"))
        writer.append(Sample("jazz.00054", (), refused="not audio"))
        writer.append(Sample("pop.00000", pack([image])))
    store = SpectrogramStore(tmp_path / "a.h5").without(["pop"])
    smaller = resize(store, tmp_path / "smaller.h5", 10, 10)
    assert smaller.sample_id == ["rock.00000#0", "rock.00000#1"]
    assert smaller.refused == {"jazz.00054": "not audio"}
    assert smaller.source_md5 == {"rock.00000": "abc", "jazz.00054": ""}
    pd.testing.assert_frame_equal(smaller.tracks, store.tracks)
    assert smaller.genres == ["jazz", "rock"]


def test_what_cannot_be_resized_is_refused_and_leaves_nothing(grey, tmp_path):
    out = tmp_path / "y.h5"
    for path, size, colour_map, message in (
        (grey.path, (10, 10), None, "is the input store"),
        (out, (0, 10), None, "height is 0"),
        (out, (10, 10), "rainbowish", "colour_map='rainbowish': expected a name"),
    ):
        with pytest.raises(GtzanKerasError, match=message):
            resize(grey, path, *size, colour_map)
    assert [path.name for path in tmp_path.iterdir()] == ["grey.h5"]
    coloured = resize(grey, tmp_path / "coloured.h5", 10, 10, "viridis")
    cut = SpectrogramStore.from_arrays(
        tmp_path / "cut.h5", grey.read()[..., 0], grey.track_id, replace(GREY, fit="pad")
    )
    # Of sound, the frames that "pad" cuts off would be squeezed into the image.
    specs = [store.spec for store in (coloured, resize(cut, tmp_path / "z.h5", 10, 10))]
    assert [spec.from_audio for spec in specs] == [True, False]
    with pytest.raises(GtzanKerasError, match="is already in colour"):
        resize(coloured, out, 10, 10, "viridis")
    assert resize(coloured, out, 10, 15).shape == (3, 10, 15, 3)
