"""The command line of stepforge: it parses and calls, and holds no logic."""
