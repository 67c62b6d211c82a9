"""HTTP/2 as a sans-I/O engine: bytes in, events out; calls in, bytes out.

Import from the modules: `connection` (the engine), `events`, `headers` (fields and blocks), `decoder` (HPACK in),
`limits`, `frames` (the wire). RFC 9113 and RFC 7541 to the letter; what gRPC adds (content-type, grpc-* fields,
message framing) is the relay's.
"""
