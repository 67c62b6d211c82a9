"""[d] Counts the TLS records in a byte stream, so that the data path reads each complete record once and no more.

Pure. Knowing how many records wait saves the exception that asking OpenSSL once too often costs, and shows records that
carry no application data: session tickets, KeyUpdate and empty records, all of which a peer could send for ever.
"""


class RecordCounter:
    """Follows record headers (type 1, version 2, length 2) across any split of the stream."""

    __slots__ = ("_header", "_missing")

    def __init__(self) -> None:
        self._header = b""
        self._missing = 0

    def feed(self, data: bytes) -> int:
        """Take the next bytes of the stream and return how many records end in them."""
        position = 0
        size = len(data)
        ended = 0
        if self._missing:
            if self._missing > size:
                self._missing -= size
                return 0
            position = self._missing
            self._missing = 0
            ended = 1
        while position < size:
            if self._header or size - position < 5:
                needed = 5 - len(self._header)
                self._header += data[position : position + needed]
                position += needed
                if len(self._header) < 5:
                    return ended
                length = self._header[3] << 8 | self._header[4]
                self._header = b""
            else:
                length = data[position + 3] << 8 | data[position + 4]
                position += 5
            position += length
            if position > size:
                self._missing = position - size
                return ended
            ended += 1
        return ended
