"""What a user was promised, shown from outside: real commands, artifacts, models and devices."""
