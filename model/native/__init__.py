"""The recurrence in C: its source, its compilation, and how the compiled library is found and called."""
