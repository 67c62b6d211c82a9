"""The crossing between the nets: signed and sealed transport files, verifier, importer."""
