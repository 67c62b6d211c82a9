"""zonegate: the trust service and zone gateway of an e-government network."""

__version__ = "0.1.0"
