"""Decides what a finished sweep says about breadth, depth and time, by the rules of `docs/findings-method.md`; pure."""
