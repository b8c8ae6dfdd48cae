"""What the service talks about: ids, models, errors and settings. Imports nothing of ours."""
