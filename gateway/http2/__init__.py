"""HTTP/2 as a sans-I/O engine: bytes in, events out; calls in, bytes out."""
