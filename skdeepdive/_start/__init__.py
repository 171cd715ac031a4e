"""Closed forms that training starts from: regressions, discriminants, factor analysis."""
