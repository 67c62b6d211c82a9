"""Signed evidence of every crossing: durable before forwarding, sealed soon after, verified offline."""
