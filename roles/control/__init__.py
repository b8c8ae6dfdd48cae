"""`python main.py pause`, `resume`, `learner` and `announce`: what operators do to a running service."""
