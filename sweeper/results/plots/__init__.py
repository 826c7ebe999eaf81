"""Draws stored sweeps and trained networks; `catalogue` lists the pictures, `files` writes them."""
