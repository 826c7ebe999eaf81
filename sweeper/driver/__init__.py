"""Plans a sweep, runs it, resumes it, mirrors it, submits it: the rooms below, joined.

`sweep.py` is the loop, short enough to read in a minute.

May import: every room above. Shares ray, in `jobs/server.py` alone.
Must not know: `results` and `cli`. What is read and drawn is no business of what writes.
"""
