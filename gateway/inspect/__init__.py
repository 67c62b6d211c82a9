"""Filters over messages, pure and linear."""
