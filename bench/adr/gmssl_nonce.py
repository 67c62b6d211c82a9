"""Shows why gmssl does not sign or decrypt in the product: ADR 0003 quotes the output of this program.

The keys are made here and thrown away. The arithmetic is GB/T 32918.2: s = (k - r·d) / (1 + d) mod n.
"""

import random
import secrets
from importlib.metadata import version

from gmssl import func, sm2

N = int(sm2.default_ecc_table["n"], 16)


def new_key() -> tuple[int, sm2.CryptSM2]:
    d = 1 + secrets.randbelow(N - 2)
    point = sm2.CryptSM2(private_key="", public_key="")._kg(d, sm2.default_ecc_table["g"])
    return d, sm2.CryptSM2(private_key=f"{d:064x}", public_key=point, mode=1)


def parts(signature: str) -> tuple[int, int]:
    return int(signature[:64], 16), int(signature[64:], 16)


def nonce_from_a_known_state() -> None:
    d, signer = new_key()
    state = random.getstate()
    r, s = parts(signer.sign_with_sm3(b"transfer 1"))
    # Whoever knows the generator's state (it is not secret: 624 earlier outputs give it) computes the same nonce.
    random.setstate(state)
    k = int(func.random_hex(64), 16)
    found = (k - s) * pow(s + r, -1, N) % N
    print("1. private key from one signature and the state of `random`:", "found" if found == d else "not found")


def two_signatures_one_nonce() -> None:
    d, signer = new_key()
    random.seed(2026)
    r1, s1 = parts(signer.sign_with_sm3(b"transfer 1"))
    random.seed(2026)
    r2, s2 = parts(signer.sign_with_sm3(b"transfer 2"))
    found = (s2 - s1) * pow(s1 - s2 + r1 - r2, -1, N) % N
    print("2. private key from two signatures after one seed:", "found" if found == d else "not found")


def decrypts_what_was_changed() -> None:
    _, box = new_key()
    sealed = bytearray(box.encrypt(b"level 1"))
    sealed[-1] ^= 1
    print("3. decryption of a ciphertext with one bit flipped:", box.decrypt(bytes(sealed)))


def loses_digits_of_public_keys() -> None:
    given = "04" + "0" + "1" * 127
    kept = sm2.CryptSM2(private_key="", public_key=given).public_key
    print(f"4. public key 04‖0111…: {len(given) - 2} digits given, {len(kept)} kept")


def main() -> None:
    print("gmssl", version("gmssl"))
    nonce_from_a_known_state()
    two_signatures_one_nonce()
    decrypts_what_was_changed()
    loses_digits_of_public_keys()


if __name__ == "__main__":
    main()
