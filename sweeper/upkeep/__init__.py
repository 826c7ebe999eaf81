"""Lists, deletes, renames and archives whole sweeps, and frees what finished ones no longer need.

May import: spec, analysis, training, tracking, ledger.
Must not know: how sweeps are driven, trained or drawn, and how answers are printed.
"""
