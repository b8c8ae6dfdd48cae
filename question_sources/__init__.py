"""The sources of questions: stored ones, computed ones, and a language model."""
