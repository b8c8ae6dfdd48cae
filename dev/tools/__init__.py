"""Commands of the Makefile that write what the repository holds."""
