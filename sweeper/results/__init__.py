"""Stored sweeps, read: questions answered, pictures drawn, a report written.

May import: search, tracking, training, ledger, analysis. Owns plotly; shares matplotlib, kaleido and pyarrow.
Must not know: `driver`. Nothing here starts, stops or changes a sweep.
"""
