"""Names, metrics, health, alerts and runbooks."""
