"""[d] Where everything of a set-up lies. Nothing of a set-up is outside its folder."""

from dataclasses import dataclass
from pathlib import Path

from zonegate.identity import Net


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The files of one holder's credential."""

    folder: Path

    @property
    def chain(self) -> Path:
        """Certificate and sub-CA, PEM."""
        return self.folder / "chain.pem"

    @property
    def key(self) -> Path:
        """The key; sealed but for strangers, whose stock programs open no sealed keys."""
        return self.folder / "key.pem"

    @property
    def secret(self) -> Path:
        """The secret that opens the key."""
        return self.folder / "secret"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one set-up."""

    root: Path

    def ca(self, net: Net) -> Path:
        """The CA directory of a net."""
        return self.root / net.value / "ca"

    def anchor(self, net: Net) -> Path:
        """The root certificate of a net."""
        return self.ca(net) / "public" / "root.crt"

    def crls(self, net: Net) -> tuple[Path, Path]:
        """The revocation lists of a net."""
        public = self.ca(net) / "public"
        return public / "root.crl", public / "sub.crl"

    def credential(self, net: Net, name: str) -> KeyFiles:
        """The credential of a holder."""
        return KeyFiles(self.root / net.value / "credentials" / name)

    def stranger(self, name: str) -> KeyFiles:
        """The credential with which a stranger knocks."""
        return KeyFiles(self.root / "strangers" / name)

    @property
    def decryption(self) -> KeyFiles:
        """The importer's decryption key; it has no certificate."""
        return KeyFiles(self.root / "intra" / "credentials" / "importer-decryption")

    def documents(self, net: Net) -> Path:
        """The policy documents of a net, as officers write them."""
        return self.root / net.value / "documents"

    def policy(self, net: Net) -> Path:
        """The signed bundle of a net, as gateways load it."""
        return self.root / net.value / "policy"

    def config(self, process: str) -> Path:
        """The TOML of a process."""
        return self.root / "config" / f"{process}.toml"

    def log(self, process: str) -> Path:
        """What a process says."""
        return self.root / "log" / f"{process}.log"

    def state(self, process: str, what: str) -> Path:
        """A file in which a process remembers."""
        return self.root / "state" / f"{process}.{what}"

    def evidence(self, name: str) -> Path:
        """The evidence of a zone's gateway, or of the importer."""
        return self.root / "evidence" / name

    @property
    def carrier(self) -> Path:
        """The directory that is carried from EXTRA to INTRA."""
        return self.root / "carrier"

    @property
    def importer_socket(self) -> Path:
        """Where the verifier hands objects over."""
        return self.root / "state" / "importer.sock"

    @property
    def commands(self) -> Path:
        """Ready-made commands of a lab."""
        return self.root / "bin"

    @property
    def running(self) -> Path:
        """Which processes a lab runs."""
        return self.root / "lab.json"
