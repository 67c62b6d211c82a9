"""The demo: a whole set-up of separate processes, its acts, and what is expected of each."""
