"""The data plane: TLS, HTTP/2, the crossing pipeline, evidence, connector."""
