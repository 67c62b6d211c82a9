"""Rules that every certificate of this CA must keep, run before signing and over existing files."""
