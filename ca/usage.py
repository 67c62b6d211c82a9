"""Key usage as a set of RFC 5280's bit names, and back. Pure."""

from cryptography import x509

# RFC 5280's names in bit order, with the attribute of `x509.KeyUsage` that holds each bit.
_BITS = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}


def key_usage_names(usage: x509.KeyUsage) -> frozenset[str]:
    """Return the names of the bits that are set."""
    names = {name for name, attribute in _BITS.items() if getattr(usage, attribute)}
    # cryptography raises when these two are asked for without keyAgreement.
    if usage.key_agreement:
        names |= {"encipherOnly"} if usage.encipher_only else set()
        names |= {"decipherOnly"} if usage.decipher_only else set()
    return frozenset(names)


def key_usage_of(names: frozenset[str]) -> x509.KeyUsage:
    """Return the extension whose bits are `names`."""
    bits = {attribute: name in names for name, attribute in _BITS.items()}
    return x509.KeyUsage(**bits, encipher_only=False, decipher_only=False)
