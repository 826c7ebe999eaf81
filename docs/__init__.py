"""The documentation: pages in Markdown, and what is generated of them (see `generate.py`)."""
