"""OCSP answers per second, pre-signed beside freshly signed: at least 20 times is wanted (architecture section 6).

The responder's core in one thread, CPU time: the whole of an answer from the request's bytes to the response's bytes,
over a real CA's ledger (SQLite) with 200 certificates. Fresh is with a nonce: parse, ledger, encode, sign. The two
alternate, five rounds of a second each; the ratio is the median of the pairs. SM2 alone is there for scale.
"""

import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import cycle
from pathlib import Path

from zonegate.ca.ceremony import CeremonyPlan, create_ca, open_ca
from zonegate.ca.keystore import FileKeyStore, SealedFiles
from zonegate.ca.names import SubjectName
from zonegate.ca.ocsp import NonceRule, Scope
from zonegate.ca.responder import Limits, Responder
from zonegate.ca.statusview import LedgerView
from zonegate.ca.subscriber import build_request
from zonegate.clock import SystemClock
from zonegate.gm import keyfile
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Profile
from zonegate.pki.ocsp import check_ocsp
from zonegate.pki.ocsp_request import encode_request, make_cert_id

ROUNDS = 5
SECONDS = 1.0
WANTED = 20.0
CERTIFICATES = 200
ORGAN = "111000009900000172"


def per_second(action: Callable[[], object]) -> float:
    end = (begin := time.process_time()) + SECONDS
    done = 0
    while (now := time.process_time()) < end:
        action()
        done += 1
    return done / (now - begin)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def measure(folder: Path) -> int:
    clock = SystemClock()
    create_ca(folder / "ca", CeremonyPlan(Net.EXTRA, "测试机构", "http://crl.example/"), clock=clock, actor="bench")
    authority = open_ca(folder / "ca", clock=clock)

    def issue(profile: Profile, name: str, key: PrivateKey):  # noqa: ANN202 - a certificate
        request = build_request(key, SubjectName("测试单位", name), Identity(Net.EXTRA, ORGAN, name))
        return authority.issue(request, profile, actor="bench")

    key = PrivateKey.generate()
    files = SealedFiles(folder / "ocsp.key", folder / "ocsp.secret")
    keyfile.write_key_file(files.key, key, keyfile.new_secret_file(files.secret))
    signer = issue(Profile.OCSP, "ocsp", key)
    made = [issue(Profile.SYSTEM, f"system-{number}", PrivateKey.generate()) for number in range(CERTIFICATES)]
    issuer = authority.certificate(Profile.SUB_CA)
    view = LedgerView.open(folder / "ca" / "ledger.sqlite", Net.EXTRA)
    scope = Scope.of(issuer, lifetime=timedelta(hours=1), nonces=NonceRule.ECHO, max_certificates=8)
    limits = Limits(fresh_per_second=1e9)
    responder = Responder(scope, signer, view, FileKeyStore({Profile.OCSP: files}), clock, limits=limits)
    responder.warm(view.serials(CERTIFICATES))
    ids = [make_cert_id(certificate.serial, issuer) for certificate in made]
    plain = cycle([encode_request((one,)) for one in ids])
    nonced = cycle([encode_request((one,), secrets.token_bytes(32)) for one in ids])
    check_ocsp(responder.answer(next(plain)).body, made[0], issuer, clock.now())
    rows = []
    for _ in range(ROUNDS):
        ahead = per_second(lambda: responder.answer(next(plain)))
        fresh = per_second(lambda: responder.answer(next(nonced)))
        rows.append((ahead, fresh, per_second(lambda: key.sign(bytes(300), signer_id=CERT_ID))))
    ratio = statistics.median(ahead / fresh for ahead, fresh, _ in rows)
    names = ("pre-signed", "freshly signed", "SM2 signatures alone")
    print("| | per second, one core (median) |")
    print("|---|---|")
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        print(f"| {name} | {statistics.median(column):,.0f} |")
    print(f"| pre-signed / freshly signed | {ratio:.1f} |")
    view.close()
    authority.close()
    return 0 if ratio >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
