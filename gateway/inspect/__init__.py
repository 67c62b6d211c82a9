"""Content inspection, one message at a time: strict decoding by the resource's descriptor, framing of messages."""
