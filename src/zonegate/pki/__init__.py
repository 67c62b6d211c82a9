"""Reading and judging SM2 certificates, revocation lists and chains. Pure: bytes and a time in, a verdict out."""
