"""Signatures of artifacts: making one, and asking for one. `seal` says what is signed."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

from stepforge.runtime.errors import (
    MissingExtraError,
    SignatureInvalidError,
    SignatureMissingError,
)
from stepforge.runtime.seal import check_digest, seal_of, split_signature, with_signature

Key = bytes | str | os.PathLike[str]
"""A key in PEM: the bytes themselves, or the path of a file."""


def new_key_pair() -> tuple[bytes, bytes]:
    """A new private key and its public key, both in PEM; the private one is not encrypted.

    Raises MissingExtraError without the extra `sign`.
    """
    return _ed25519().generate()


def signed(where: str, data: bytes, private_key: Key, password: bytes | None = None) -> bytes:
    """The bytes of an artifact with a signature, in the place of one that it may have.

    password: of a key that is encrypted. Equal artifacts and keys give equal bytes.
    Raises ArtifactCorruptError, ArtifactFormatError, SigningKeyError, MissingExtraError, and
    OSError for a key file that cannot be read.
    """
    check_digest(where, data)
    plain, _ = split_signature(where, data)
    return with_signature(plain, _ed25519().sign(seal_of(plain), private_key, password))


def check_signature(where: str, data: bytes, public_key: Key) -> None:
    """Raise unless the artifact carries a signature of this key. Its digest was checked before.

    Raises SignatureMissingError, SignatureInvalidError, ArtifactFormatError, SigningKeyError,
    MissingExtraError, and OSError for a key file that cannot be read.
    """
    ed25519 = _ed25519()
    plain, signature = split_signature(where, data)
    if signature is None:
        raise SignatureMissingError(
            f"{where}: a signature was asked for, and the artifact has none; sign it with "
            "`stepforge sign`, or get it from whoever signs it"
        )
    if not ed25519.holds(seal_of(plain), signature, public_key):
        raise SignatureInvalidError(
            f"{where}: the signature does not hold: it was made with another key or for another "
            "artifact, or the artifact was changed since; its contents have the SHA-256 "
            f"{seal_of(plain)[-64:].decode()}; get it again from whoever signs it"
        )


def _ed25519() -> ModuleType:
    try:
        return import_module("stepforge.runtime.ed25519")
    except ImportError as error:
        raise MissingExtraError(
            "signatures need the package cryptography, which is not installed: "
            "pip install 'stepforge[sign]'"
        ) from error
