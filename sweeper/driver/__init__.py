"""Plans, runs, resumes, mirrors and submits a sweep by joining the rooms below.

`sweep.py` is the loop, short enough to read in a minute.

May import: every room but `results` and `cli`. Shares ray, in `jobs/server.py` alone.
Must not know: `results` and `cli`, because writing a sweep does not depend on how it is read and drawn.
"""
