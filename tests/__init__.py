"""Tests. The four files at the top are where to read first; the folders say what the others stand on."""
