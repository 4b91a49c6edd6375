"""Where arrays are kept: one HDF5 file per spec."""
