"""Messages of transport between the nets."""
