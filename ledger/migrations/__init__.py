"""Numbered steps that bring an older ledger to the newest schema."""
