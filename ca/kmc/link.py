"""Opens the CA's way to its key centre as `ca.toml` describes it: credential, the centre's certificate, the socket."""

from zonegate.ca.config import CaSettings
from zonegate.ca.kmc.client import CentreClient
from zonegate.ca.kmc.wire import UnixExchange
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.pki.certificate import Certificate
from zonegate.pki.credential import load_credential, read_chain_file
from zonegate.pki.path import TrustAnchors, verify_path
from zonegate.reasons import Reason


def open_link(settings: CaSettings, root: Certificate, clock: Clock) -> CentreClient:
    """Return the client of the configured centre; E_CONFIG if none is configured, else what is wrong with a file."""
    link = settings.kmc
    if link is None:
        raise ZoneGateError(Reason.E_CONFIG, "kmc: ca.toml names no key centre, so no dual certificate can be issued")
    centre, *above = read_chain_file(link.centre)
    verify_path(centre, above, TrustAnchors(settings.net, (root,)), now=clock.now())
    credential = load_credential(link.chain, link.key, link.secret)
    return CentreClient(UnixExchange(link.socket, tuple(link.users) or None), credential, centre, clock)
