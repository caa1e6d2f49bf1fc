"""Helpers that several test folders share; imported as `support.NAME`."""
