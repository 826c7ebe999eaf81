"""Decides claims about breadth, depth and time by the rules of `docs/findings-method.md`, with pure functions."""
