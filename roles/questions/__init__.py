"""The parts of the operators' command about questions: its arguments, its tables and the terminal."""
