"""The certificate authority of one net: requests, profiles, issuance, revocation, ledger."""
