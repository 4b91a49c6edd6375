"""HDF5 files whose numbers are elsewhere, which a store or a file of weights must not be."""

from __future__ import annotations

from pathlib import Path

import h5py


def beside(file: h5py.File) -> Path:
    return Path(file.filename).with_name("outside")


def link_outside(file: h5py.File, name: str) -> None:
    """Replace a dataset by a link to another file."""
    with h5py.File(beside(file), "w") as other:
        file.copy(name, other, name="x")
    del file[name]
    file[name] = h5py.ExternalLink(beside(file), "x")


def store_outside(file: h5py.File, name: str) -> None:
    """Replace a dataset by one whose numbers are in a file of their own."""
    data = file[name][()]
    beside(file).write_bytes(data.tobytes())
    del file[name]
    file.create_dataset(name, data.shape, data.dtype, external=[(beside(file), 0, data.nbytes)])


def view_outside(file: h5py.File, name: str) -> None:
    """Replace a dataset by a view of another file's."""
    shape, dtype = file[name].shape, file[name].dtype
    link_outside(file, name)
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(beside(file), "x", shape)
    del file[name]
    file.create_virtual_dataset(name, layout)
