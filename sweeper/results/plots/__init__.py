"""Pictures of stored sweeps and of trained networks; `catalogue` lists them, `files` writes them."""
