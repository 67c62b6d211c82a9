"""[a] The sealing thread: at most `interval` after a record is durable it signs a Merkle root over all that are.

Writes nothing itself: a finished seal goes to the committer, which makes it durable like a record. While nothing can
be signed (expired certificate, broken key) it is not `ready`, and the committer refuses new crossings.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.seal import (
    BATCH_LIMIT,
    Seal,
    SignedHead,
    Statement,
    encode_statement,
    hints_of,
    merkle_root,
    message_of,
)
from zonegate.gateway.evidence.stats import EvidenceStats
from zonegate.gm.sm2 import CERT_ID

# Unsealed records beyond this mean that sealing has stopped: new crossings are refused before memory is.
UNSEALED_LIMIT = 200_000
UNSEALED_SECONDS = 30.0
_RETRY_SECONDS = 1.0


class SigningKey(Protocol):
    """The private half of the evidence certificate."""

    def sign(self, message: bytes, *, signer_id: bytes) -> bytes:
        """Return the DER signature."""
        ...


class SignerCertificate(Protocol):
    """What the log needs to know of a certificate."""

    @property
    def der(self) -> bytes:
        """The certificate."""
        ...

    @property
    def fingerprint(self) -> str:
        """SM3 of `der` in hex."""
        ...

    @property
    def not_before(self) -> datetime:
        """Beginning of validity."""
        ...

    @property
    def not_after(self) -> datetime:
        """End of validity."""
        ...


class Signer(Protocol):
    """The evidence credential, as `zonegate.pki.credential.Credential` is one: certificates, leaf first, and key."""

    @property
    def chain(self) -> Sequence[SignerCertificate]:
        """Leaf first."""
        ...

    @property
    def key(self) -> SigningKey:
        """The signing key."""
        ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal on its way to the disk, and the head that it becomes there."""

    seal: Seal
    head: SignedHead
    # The last record that it covers.
    last: int


class Sealer:
    """Collects the chain hashes of durable records and signs them batch by batch."""

    def __init__(
        self,
        *,
        chain: str,
        gateway: str,
        signer: Signer,
        clock: Clock,
        interval: float,
        stats: EvidenceStats,
        batch: int,
        records: int,
        root: str,
    ) -> None:
        self._chain = chain
        self._gateway = gateway
        self._signer = signer
        self._clock = clock
        self._interval = interval
        self._stats = stats
        self._batch = batch
        self._next = records
        self._root = root
        self._leaves: list[bytes] = []
        self._since = 0.0
        self._wanted = threading.Condition()
        self._stopping = False
        self._failure = ""
        self._thread: threading.Thread | None = None

    def start(self, submit: Callable[[Sealed], None]) -> None:
        """Begin to seal; finished seals go to `submit`."""
        self._thread = threading.Thread(target=self._run, args=(submit,), name="evidence-sealer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is unsealed stays for `seal_now`."""
        with self._wanted:
            self._stopping = True
            self._wanted.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def signer(self) -> Signer:
        """The credential that signs now."""
        return self._signer

    def replace_signer(self, signer: Signer) -> None:
        """Sign with another credential from the next seal on; its certificates must reach the disk first."""
        with self._wanted:
            self._signer = signer
            self._failure = ""
            self._wanted.notify()

    @property
    def failure(self) -> str:
        """Why nothing can be sealed, empty while all is well."""
        if self._failure:
            return self._failure
        late = bool(self._leaves) and time.perf_counter() - self._since > UNSEALED_SECONDS
        return "sealing does not keep up" if late or len(self._leaves) > UNSEALED_LIMIT else ""

    def add(self, leaves: Sequence[bytes]) -> None:
        """Take the chain hashes of records that have become durable, in order."""
        with self._wanted:
            if not self._leaves:
                self._since = time.perf_counter()
                self._wanted.notify()
            self._leaves.extend(leaves)

    def seal_now(self, *, recovered: bool = False) -> Sealed | None:
        """Sign the oldest unsealed records, at most a batch; None if there are none or signing fails."""
        with self._wanted:
            leaves = self._leaves[:BATCH_LIMIT]
            signer, since = self._signer, self._since
        if not leaves:
            return None
        now = self._clock.now()
        leaf = signer.chain[0]
        if now >= leaf.not_after:
            self._fail("the evidence certificate has expired")
            return None
        if now < leaf.not_before:
            # A seal dated before its certificate would never verify: a clock that ran back must not spoil the chain.
            self._fail("the evidence certificate is not valid yet, or the clock has run back")
            return None
        statement = encode_statement(
            Statement(
                chain=self._chain,
                gateway=self._gateway,
                batch=self._batch + 1,
                first=self._next,
                last=self._next + len(leaves) - 1,
                root=(root := merkle_root(leaves).hex()),
                previous_root=self._root,
                chain_hash=leaves[-1].hex(),
                time=now,
                signer=leaf.fingerprint,
                recovered=recovered,
            )
        )
        began = time.perf_counter()
        try:
            signature = signer.key.sign(message_of(statement), signer_id=CERT_ID)
        except ZoneGateError as exc:
            self._fail(f"the evidence key does not sign ({exc.reason})")
            return None
        ended = time.perf_counter()
        self._failure = ""
        self._batch += 1
        self._next += len(leaves)
        self._root = root
        with self._wanted:
            del self._leaves[: len(leaves)]
            self._since = ended
        self._stats.batches += 1
        self._stats.sign_seconds.observe(ended - began)
        self._stats.seal_seconds.observe(ended - since)
        seal = Seal(statement=statement, signature=signature, hints=hints_of(leaves))
        certificates = tuple(certificate.der for certificate in signer.chain)
        head = SignedHead(statement=statement, signature=signature, certificates=certificates)
        return Sealed(seal, head, self._next - 1)

    def _fail(self, why: str) -> None:
        self._failure = why
        self._stats.failed_seals += 1

    def _run(self, submit: Callable[[Sealed], None]) -> None:
        try:
            while self._wait():
                sealed = self.seal_now()
                if sealed is not None:
                    submit(sealed)
        finally:
            # Whatever else ends this thread, what is not sealed is not evidence: fail closed.
            if not self._stopping:
                self._fail("the sealing thread has ended")

    def _wait(self) -> bool:
        """Wait until a batch is due; False when the thread must end."""
        with self._wanted:
            while not self._leaves and not self._stopping:
                self._wanted.wait()
            pause = _RETRY_SECONDS if self._failure else self._interval
            due = self._since + pause if not self._failure else time.perf_counter() + pause
            # A full batch is sealed at once: waiting longer would only make the next one late.
            while not self._stopping and (self._failure or len(self._leaves) < BATCH_LIMIT):
                left = due - time.perf_counter()
                if left <= 0:
                    break
                self._wanted.wait(left)
            return not self._stopping
