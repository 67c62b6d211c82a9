"""The key management centre: makes, keeps, gives out, recovers and destroys encryption keys (CA-04, CA-07..CA-09)."""
