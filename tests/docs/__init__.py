"""Tests of the pages under docs/: what they say is done, and compared."""
