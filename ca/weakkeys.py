"""Public keys whose private key anybody knows: the samples of the standards and the smallest scalars. Pure, a table.

Whether a point is on the curve is `gm.sm2`'s question (CR-10). A key that some certificate has already is the
ledger's (E_DUPLICATE_KEY).
"""

from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import PublicKey
from zonegate.reasons import Reason

# x coordinates: d and n - d share one, so each line refuses both keys.
_SMALL_SCALARS = (
    "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7",  # d = 1, the generator
    "56cefd60d7c87c000d58ef57fa73ba4d9c0dfa08c08a7331495c2e1da3f2bd52",  # d = 2
    "a97f7cd4b3c993b4be2daa8cdb41e24ca13f6bd945302244e26918f1d0509ebf",  # d = 3
    "c239507105c683242a81052ff641ed69009a084ad5cc937db21646cd34a0ced5",  # d = 4
    "c749061668652e26040e008fdd5eb77a344a417b7fce19dba575da57cc372a9e",  # d = 5
    "0927afb57d93483bbb17c93e71f22a3105ff8856a66016892c8b1a1a3c4b0d30",  # d = 6
    "ddf092555409c19dfdbe86a75c139906a80198337744ee78cd27e384d9fcaf15",  # d = 7
    "b9c3faeb4b1610713db4333d4e860e64d4ea35d60c1c29bb675d822ded0bb916",  # d = 8
)
_PUBLISHED = (
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020",  # GB/T 32918.5-2017 Annex A and C, d
    "04ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73",  # the same, k
    "160e12897df4edb61dd812feb96748fbd3ccf4ffe26aa6f6db9540af49c94232",  # GB/T 32918.5-2017 Annex B, dA
    "6ae848c57c53c7b1b5fa99eb2286af078ba64c64591b8b566f7357d576f16dfb",  # the same, dB
    "64ced1bdbc99d590049b434d0fd73428cf608a5db8fe5ce07f15026940bae40e",  # the same, rA
    "acc27688a6f7b706098bc91ff3ad1bff7dc2802cdb14ccccdb0a90471f9bd707",  # the same, rB
)
_KNOWN = {bytes.fromhex(x): "its private key is a very small number" for x in _SMALL_SCALARS} | {
    bytes.fromhex(x): "its private key is printed in GB/T 32918.5" for x in _PUBLISHED
}


def check_key_strength(public_key: PublicKey) -> None:
    """Refuse, with E_KEY, a key whose private half is public knowledge."""
    weakness = _KNOWN.get(public_key.point[1:33])
    if weakness is not None:
        raise ZoneGateError(Reason.E_KEY, f"publicKey: {weakness}; make a new key pair with `zonegate key new`")
