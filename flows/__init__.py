"""What the flows are made of: context, artifacts, progress, cohorts, and the work pool."""
