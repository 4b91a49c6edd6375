"""Where arrays are kept: one HDF5 file a spec."""
