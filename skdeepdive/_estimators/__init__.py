"""The estimators: arrays in, arrays out."""
