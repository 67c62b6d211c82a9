"""[a] The policies of the set-up: documents written out, built into bundles, signed by officers.

The same functions as behind `zonegate policy build` and `policy sign`.
"""

from base64 import b64encode
from datetime import timedelta
from importlib import resources

from zonegate.clock import Clock
from zonegate.demo.layout import Layout
from zonegate.demo.trust import OFFICERS, load
from zonegate.gm import keyfile
from zonegate.identity import Net
from zonegate.policies import bundle
from zonegate.policies.bundle_store import read_document_files, write_bundle, write_signature

# An act offers an older one, so the first in force is not the first there ever was.
FIRST_VERSION = 2
VALIDITY = timedelta(days=365)
_KEY_PLACE = b"IMPORTER-ENCRYPTION-KEY"
_DESCRIPTOR = "statistics.binpb"


def write_documents(layout: Layout) -> None:
    """Write both nets' documents, the importer's public key filled in."""
    shipped = resources.files("zonegate.demo") / "policy"
    public = keyfile.read_key_file(layout.decryption.key, layout.decryption.secret).public_key
    for net in Net:
        folder = layout.documents(net)
        folder.mkdir()
        text = (shipped / f"{net.value}.yaml").read_bytes().replace(_KEY_PLACE, b64encode(public.spki))
        (folder / f"{net.value}.yaml").write_bytes(text)
        (folder / _DESCRIPTOR).write_bytes((shipped / _DESCRIPTOR).read_bytes())


def sign_policy(layout: Layout, net: Net, clock: Clock, *, version: int, officers: int = len(OFFICERS)) -> None:
    """Put a bundle of the net's documents where gateways load it, with the signatures of so many officers."""
    now = clock.now()
    raw = bundle.build(
        read_document_files(layout.documents(net)),
        version=version,
        not_before=now - timedelta(minutes=1),
        not_after=now + VALIDITY,
    )
    write_bundle(layout.policy(net), raw)
    for name in OFFICERS[:officers]:
        officer = load(layout.credential(net, name))
        write_signature(layout.policy(net), bundle.sign(raw, officer.chain, officer.key, now=now))
