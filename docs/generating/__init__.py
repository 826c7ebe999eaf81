"""What pages and pictures of the documentation take from the program; `docs/generate.py` writes it into them."""
