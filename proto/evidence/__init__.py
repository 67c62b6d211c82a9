"""Evidence: the exchange of signed heads between gateways."""
