"""Fuzzing of every reader: seeded mutations of valid files, whose outcome must be a result or a DarknetError."""
