"""The recurrence in C: its source, how it is compiled, and how what was compiled is found and called."""
