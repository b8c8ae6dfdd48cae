"""What is deployed: parsed, compared with the code, and run where it can run without containers."""
