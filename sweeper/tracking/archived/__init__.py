"""Reads a sweep from its archive, which holds a tracker's content as plain files beside the ledger."""
