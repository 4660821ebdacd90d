"""Documents out of files: which files, of which format, one document after another."""
