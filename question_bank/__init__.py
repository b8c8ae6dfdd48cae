"""The question bank: questions as YAML by topic, their format, lint and executable checks."""
