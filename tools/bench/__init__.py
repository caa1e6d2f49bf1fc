"""The built-in cases of `stepforge bench`, and measuring them side by side.

`cases` is the table, `contenders` has a script for each way to do the work, `processes` runs them,
`measure` takes turns, `report` and `plot` show what came of it.
"""
