"""Writes a sweep as one HTML file: `page` builds it from `data`, and from the scripts and styles in `page_files`."""
