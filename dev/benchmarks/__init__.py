"""What the service does a second, and how long a learner waits: measured beside something simpler, in the same run."""
