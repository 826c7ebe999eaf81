"""Reads stored sweeps: answers questions, draws pictures and writes reports.

May import: search, tracking, training, ledger, analysis. Owns plotly; shares matplotlib, kaleido and pyarrow.
Must not know: `driver`. Nothing here starts, stops or changes a sweep.
"""
