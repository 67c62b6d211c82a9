import re

import pytest
from OpenSSL import SSL

from support.forge import ForgedNet
from support.tls import make_holder
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import pins, probe
from zonegate.gateway.tls.context import KeyExchange
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

NET = ForgedNet()


@pytest.mark.req("TL-05")
@pytest.mark.parametrize("key_exchange", KeyExchange)
def test_the_probe_names_the_libraries_that_work(key_exchange: KeyExchange):
    holder = make_holder(NET, NET.leaf("gw", Profile.GATEWAY), key_exchange=key_exchange)
    assert re.fullmatch(r"pyOpenSSL 2\d\.\d\S*, cryptography \d+\.\S+, OpenSSL [4-9]\.\d.*", probe.run(holder))


@pytest.mark.req("TL-05")
def test_a_group_that_the_library_lacks_stops_the_start_and_names_the_version():
    with pytest.raises(ZoneGateError, match=r"curveSM9 is not known to OpenSSL") as caught:
        pins.pin_groups(SSL.Context(SSL.TLS_METHOD), ["curveSM9"])
    assert caught.value.reason is Reason.E_SELFTEST
    with pytest.raises(ZoneGateError, match="sm9sig is not known"):
        pins.pin_signatures(SSL.Context(SSL.TLS_METHOD), ["sm9sig"])


def test_a_key_that_is_none_is_refused():
    with pytest.raises(ZoneGateError) as caught:
        pins.use_key(SSL.Context(SSL.TLS_METHOD), b"\x30\x00")
    assert caught.value.reason is Reason.E_SELFTEST
