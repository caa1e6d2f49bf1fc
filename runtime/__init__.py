"""Load a compiled optimizer and step it: needs no compiler and no framework."""
