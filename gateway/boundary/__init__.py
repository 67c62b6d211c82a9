"""Between the nets: signed transport files out of one net, verified, decided again and delivered once in the other."""
