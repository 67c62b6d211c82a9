"""The frame relay: one call in, one call out, whatever the role; the role decides in a `CallHandler`."""
