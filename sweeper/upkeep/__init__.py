"""What is done with whole sweeps: listed, deleted, renamed, archived, cleaned up after.

May import: spec, analysis, training, tracking, ledger.
Must not know: how sweeps are driven, trained or drawn, nor how answers are printed.
"""
