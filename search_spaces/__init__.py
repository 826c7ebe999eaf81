"""Named, complete, commented sweeps: data only, read by their bare name."""
