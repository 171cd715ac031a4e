"""Arguments checked, labels as codes, windows in batches: what every other room builds on."""
