"""Tables with dated rows: read as regular series, cut, scaled and calibrated, dated again."""
