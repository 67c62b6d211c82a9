"""National cryptography: SM2, SM3, SM4 and their encodings (standards.md B1). Signer ids are explicit in every call."""
