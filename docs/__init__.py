"""The documentation: pages in Markdown, and the code that generates parts of them (see `generate.py`)."""
