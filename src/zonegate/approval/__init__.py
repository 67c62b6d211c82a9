"""The approval core: what needs more than one person is done only over their SM2 signatures (RO-05)."""
