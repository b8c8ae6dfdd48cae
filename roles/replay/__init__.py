"""`python main.py replay`: works every stored answer out again and compares."""
