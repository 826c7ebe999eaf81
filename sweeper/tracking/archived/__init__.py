"""A sweep as its archive holds it: what a tracker had of it, as plain files beside its ledger. Read, never written."""
