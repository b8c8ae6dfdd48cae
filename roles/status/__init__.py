"""`python main.py status` and `doctor`: the service's status, and whether it can start."""
