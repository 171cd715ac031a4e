"""Fitted estimators as plain Python and NumPy, and as files that need not be trusted."""
