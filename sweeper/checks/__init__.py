"""Checks: `doctor` checks machines and software, `audit` a stored sweep.

May import: every room but `results` and `cli`. Owns packaging; shares kaleido, in `probe.py` alone.
Must not know: how findings are printed.
"""
