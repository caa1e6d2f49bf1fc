"""Ed25519 by the package `cryptography` (extra `sign`): the only module that imports it.

`signatures` imports this one when a signature is made or asked for, and never else.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from stepforge.runtime.errors import SigningKeyError

Key = bytes | str | os.PathLike[str]
"""A key in PEM: the bytes themselves, or the path of a file."""
MAX_KEY = 64 * 2**10


def generate() -> tuple[bytes, bytes]:
    """A new private key, not encrypted, and its public key."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def sign(message: bytes, private_key: Key, password: bytes | None) -> bytes:
    """The 64 bytes of the signature. Raises SigningKeyError, and OSError for the key's file."""
    name, pem = _read(private_key)
    try:
        key = load_pem_private_key(pem, password)
    except TypeError as error:
        state = "is encrypted, and no" if password is None else "is not encrypted, and a"
        raise SigningKeyError(f"{name}: the key {state} password was given") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "; is the password right?" if password is not None else ""
        raise SigningKeyError(_no_key(name, "private", pem) + hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(_no_key(name, "private", pem))
    return key.sign(message)


def holds(message: bytes, signature: bytes, public_key: Key) -> bool:
    """Whether the key made the signature. Raises SigningKeyError, and OSError for its file."""
    name, pem = _read(public_key)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(_no_key(name, "public", pem)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise SigningKeyError(_no_key(name, "public", pem))
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _read(key: Key) -> tuple[str, bytes]:
    """What to call the key, and its PEM."""
    if isinstance(key, bytes):
        return "the key", key
    with Path(key).open("rb") as stream:
        return str(key), stream.read(MAX_KEY)


def _no_key(name: str, kind: str, pem: bytes) -> str:
    """What is wrong; never a part of the key."""
    other = "private" if kind == "public" else "public"
    got = "something else"
    if other.upper().encode() + b" KEY-----" in pem:
        got = f"a {other} key"
    elif kind.upper().encode() + b" KEY-----" in pem:
        got = f"a {kind} key that is damaged or of another kind"
    return (
        f"{name}: expected an Ed25519 {kind} key in PEM, got {got}; `stepforge sign --new-key "
        "KEY.pem` makes a pair, and so does `openssl genpkey -algorithm ed25519`"
    )
