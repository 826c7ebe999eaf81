"""What should hold, and whether it does: `doctor` looks at machines and software, `audit` at a stored sweep.

May import: every room but `results` and `cli`. Owns packaging; shares kaleido, in `probe.py` alone.
Must not know: how findings are printed.
"""
