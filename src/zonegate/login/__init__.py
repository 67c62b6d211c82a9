"""Officers log in by signing a challenge with their SM2 certificate; failures lock out, sessions end (RO-03, RO-04)."""
