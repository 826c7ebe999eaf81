"""A sweep in one HTML file: `data` is what it shows, `page` puts it together, `page_files` are its parts."""
