"""Turns records of trials into points, fronts, indicators and tables, by pure functions.

May import: the ground floor alone. Owns moocore; shares numpy and pyarrow.
Must not know: where records come from and where tables go. Nothing here reads or writes a file.
"""
