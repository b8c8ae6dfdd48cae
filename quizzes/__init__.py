"""The use cases: plain functions that may run again after any crash, since the rows say what is done."""
