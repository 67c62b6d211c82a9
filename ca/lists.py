"""Makes an issuer's revocation lists: full, shards, delta (RV-01, RV-02). [a]

One draft of the ledger gives number and second to the full list and to all its shards; a delta has a draft of its own
and is made against the full list that is published. Every list is signed and read back by the verifiers' own code
before any file is replaced. Who may publish, and the audit of it, is `authority`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from zonegate.ca import asn1
from zonegate.ca.addresses import LIST_SUFFIX, Shard, delta_url
from zonegate.ca.config import IssuerSettings
from zonegate.ca.keystore import KeyStore
from zonegate.ca.ledger import CrlDraft
from zonegate.ca.publication import Publication
from zonegate.ca.revocation import (
    FULL,
    ListShape,
    RemovedCertificate,
    RevokedCertificate,
    build_tbs_crl,
    changes_since,
)
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Crl, load_any, load_crl
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class MadeLists:
    """Signed lists of one draft, the first being what the ledger records; `write` publishes all."""

    first: Crl
    write: Callable[[], None]


class ListMaker:
    """The lists of one CA."""

    def __init__(self, keystore: KeyStore, publication: Publication) -> None:
        self._keystore = keystore
        self._publication = publication

    def published(self, issuer: Profile) -> Crl | None:
        """Return the full list that is published; None before the first."""
        try:
            return load_crl(self._publication.crl_path(issuer).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ZoneGateError(Reason.E_CONFIG, f"CRL: cannot be read: {exc.strerror}") from exc

    def full(self, issuer: Profile, signer: Certificate, settings: IssuerSettings, draft: CrlDraft) -> MadeLists:
        """Return the full list and every shard that a certificate may name."""
        freshest = tuple(delta_url(url) for url in settings.crl_urls) if settings.delta_minutes else ()
        first = self._signed(issuer, signer, draft, draft.revoked, ListShape(freshest_urls=freshest))
        path = self._publication.crl_path(issuer)
        made = [(path.name, first.der)]
        for count in sorted({settings.crl_shards, *settings.former_crl_shards} - {0}):
            for index in range(count):
                shard = Shard(count, index)
                urls = tuple(shard.url(url) for url in settings.crl_urls)
                entries = [item for item in draft.revoked if shard.holds(item.serial)]
                crl = self._signed(issuer, signer, draft, entries, ListShape(shard_urls=urls))
                made.append((shard.name(path.stem) + LIST_SUFFIX, crl.der))
        return MadeLists(first, lambda: self._write(made))

    def delta(self, issuer: Profile, signer: Certificate, base: Crl, draft: CrlDraft) -> MadeLists:
        """Return the delta list from `base` to the draft."""
        base.verify(signer)
        entries = changes_since(base.revoked, draft.revoked, now=draft.this_update)
        crl = self._signed(issuer, signer, draft, entries, ListShape(base=base.number))
        name = delta_url(self._publication.crl_path(issuer).name)
        return MadeLists(crl, lambda: self._write([(name, crl.der)]))

    def _write(self, made: Sequence[tuple[str, bytes]]) -> None:
        for name, content in made:
            self._publication.write_list(name, content)

    def _signed(
        self,
        issuer: Profile,
        signer: Certificate,
        draft: CrlDraft,
        entries: Sequence[RevokedCertificate | RemovedCertificate],
        shape: ListShape = FULL,
    ) -> Crl:
        tbs = build_tbs_crl(
            signer.subject_der,
            signer.public_key,
            entries,
            number=draft.number,
            this_update=draft.this_update,
            next_update=draft.next_update,
            shape=shape,
        )
        crl = load_any(asn1.encode_signed(tbs, self._keystore.sign(issuer, tbs, signer_id=sm2.CERT_ID)))
        crl.verify(signer)
        return crl


def carried_until(published: Crl | None) -> datetime | None:
    """Return since when the ended certificates may be left out: a full list has carried them (RFC 5280 3.3)."""
    return None if published is None else published.this_update
