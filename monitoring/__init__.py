"""What the product tells of itself: metrics, health, alert rules with their runbooks."""
