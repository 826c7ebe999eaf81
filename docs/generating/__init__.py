"""Generators of the parts of pages and pictures that come from the program; `docs/generate.py` calls them."""
