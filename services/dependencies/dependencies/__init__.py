"""Dependencies as streams: declared, changed, withdrawn, declared again."""
