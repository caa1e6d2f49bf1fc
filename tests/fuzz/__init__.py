"""Coverage-guided fuzzing of what reads files, with atheris (the extra `fuzz`), in `make soak`."""
