"""SM TLS (RFC 8998) over memory BIOs, and the handshakes that run off the event loop."""
