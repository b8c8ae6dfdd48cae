"""What `python main.py ROLE` runs: webhook and polling, worker, the operators' commands."""
