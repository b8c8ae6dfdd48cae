"""`python main.py backup` and `restore`: dumps of the database, each verified by restoring it elsewhere."""
