"""Files of each format version, which are to be read for ever, and how they were made."""
