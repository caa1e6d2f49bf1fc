"""R7: with a public key nothing is loaded but what its owner signed, and IREE sees no byte of it.

Who can change a file can change its digest, so every forgery here carries one that fits.
"""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from stepforge import runtime
from stepforge.runtime import ed25519 as keys
from stepforge.runtime.seal import seal_of, split_signature, with_signature
from stepforge.runtime.signatures import new_key_pair, signed
from support import forgeries, handmade, variants

pytestmark = pytest.mark.compiler

FLIPS = 2_000
SHAPES = {"/w": (4,)}


@dataclass(frozen=True, slots=True)
class Release:
    """Two artifacts that one owner signed, and the owner's keys."""

    private_key: bytes
    public_key: bytes
    plain: bytes
    data: bytes
    older: bytes


@pytest.fixture(scope="module")
def release() -> Release:
    private_key, public_key = new_key_pair()
    artifact = handmade.sgd(SHAPES)
    older = variants.with_manifest(artifact, package_version="0.0.1")
    plain = artifact.vmfb_bytes
    return Release(
        private_key,
        public_key,
        plain,
        signed("artifact", plain, private_key),
        signed("artifact", older.vmfb_bytes, private_key),
    )


@pytest.fixture
def no_iree(monkeypatch: pytest.MonkeyPatch) -> None:
    forgeries.put_iree_out_of_reach(monkeypatch)


def signature(data: bytes) -> bytes:
    found = split_signature("artifact", data)[1]
    assert found is not None
    return found


# What the owner signed.


@pytest.mark.parametrize("kind", ["bytes", "path", "text"])
def test_a_signed_artifact_loads_with_the_key(kind: str, release: Release, tmp_path: Path) -> None:
    path = tmp_path / "owner.pub.pem"
    path.write_bytes(release.public_key)
    key = {"bytes": release.public_key, "path": path, "text": str(path)}[kind]
    with runtime.load(release.data, public_key=key) as step:
        step.initialize({"w": np.zeros(4, np.float32)})
        step.step({"w": np.ones(4, np.float32)})
        assert step.global_step == 1


def test_a_signature_is_ignored_by_who_does_not_ask(release: Release) -> None:
    with runtime.load(release.data) as step:
        assert step.functions == ("step",)
    with runtime.load(release.plain) as step:
        assert step.functions == ("step",)


def test_signing_leaves_the_artifact_as_it_was(release: Release) -> None:
    plain, found = split_signature("artifact", release.data)
    assert plain == release.plain
    assert found is not None
    assert len(release.data) - len(release.plain) == 30 + 13 + 64 + 46 + 13
    before, after = runtime.read_artifact(release.plain), runtime.read_artifact(release.data)
    assert (after.sha256, after.manifest) == (before.sha256, before.manifest)
    assert (before.signature, after.signature) == (None, found)
    assert after.vmfb_bytes != before.vmfb_bytes


def test_signing_again_replaces_the_signature(release: Release) -> None:
    assert signed("artifact", release.data, release.private_key) == release.data
    other_private, other_public = new_key_pair()
    replaced = signed("artifact", release.data, other_private)
    assert runtime.read_artifact(replaced, public_key=other_public)
    with pytest.raises(runtime.SignatureInvalidError):
        runtime.read_artifact(replaced, public_key=release.public_key)


def test_zip_tools_read_a_signed_artifact(release: Release) -> None:
    with zipfile.ZipFile(io.BytesIO(release.data)) as archive:
        assert archive.testzip() is None
        last = archive.infolist()[-1]
        assert (last.filename, last.file_size) == ("stepforge.sig", 64)
        assert last.date_time == (1980, 1, 1, 0, 0, 0)


# What somebody else made of it.


def all_zero(release: Release) -> bytes:
    return with_signature(release.plain, bytes(64))


def by_another_key(release: Release) -> bytes:
    return signed("artifact", release.plain, new_key_pair()[0])


def of_another_artifact(release: Release) -> bytes:
    return with_signature(release.plain, signature(release.older))


def with_an_old_manifest(release: Release) -> bytes:
    old = forgeries.entry(release.older, "stepforge.json")
    plain = forgeries.with_entries(release.plain, stepforge_json=old)
    return with_signature(plain, signature(release.data))


def with_an_old_manifest_and_its_signature(release: Release) -> bytes:
    old = forgeries.entry(release.older, "stepforge.json")
    plain = forgeries.with_entries(release.plain, stepforge_json=old)
    return with_signature(plain, signature(release.older))


def signed_over_the_owners_signature(release: Release) -> bytes:
    return with_signature(release.data, signature(release.data))


def with_another_graph(release: Release) -> bytes:
    plain = forgeries.with_entries(release.plain, graph_json=b'{"format":1,"nodes":[ ]}')
    return with_signature(plain, signature(release.data))


def stripped(release: Release) -> bytes:
    return release.plain


def in_another_form(release: Release) -> bytes:
    """The right signature in an entry that is written differently, here deflated."""
    buffer = io.BytesIO(release.plain)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("stepforge.sig", signature(release.data), zipfile.ZIP_DEFLATED)
    return forgeries.resealed(buffer.getvalue())


def under_another_name(release: Release) -> bytes:
    return forgeries.resealed(release.data.replace(b"stepforge.sig", b"stepforge.sih"))


INVALID, MISSING = runtime.SignatureInvalidError, runtime.SignatureMissingError
FORGERIES: dict[Callable[[Release], bytes], type[Exception]] = {
    all_zero: INVALID,
    by_another_key: INVALID,
    of_another_artifact: INVALID,
    with_an_old_manifest: INVALID,
    with_an_old_manifest_and_its_signature: INVALID,
    with_another_graph: INVALID,
    signed_over_the_owners_signature: INVALID,
    stripped: MISSING,
    in_another_form: MISSING,
    under_another_name: MISSING,
}


@pytest.mark.usefixtures("no_iree")
@pytest.mark.parametrize(
    ("forge", "error"), FORGERIES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_forgeries_are_refused(
    forge: Callable[[Release], bytes], error: type[Exception], release: Release, tmp_path: Path
) -> None:
    path = tmp_path / "forged.vmfb"
    path.write_bytes(forge(release))
    with pytest.raises(error, match=str(path)):
        runtime.load(path, public_key=release.public_key)


@pytest.mark.usefixtures("no_iree")
def test_an_artifact_that_was_read_before_is_checked_too(release: Release) -> None:
    artifact = runtime.read_artifact(by_another_key(release))
    with pytest.raises(runtime.SignatureInvalidError):
        runtime.load(artifact, public_key=release.public_key)


@pytest.mark.usefixtures("no_iree")
def test_an_unlisted_signature_is_no_artifact(release: Release) -> None:
    """Without a key too: format 1 writes a signature in one way."""
    for forge in (in_another_form, under_another_name, signed_over_the_owners_signature):
        with pytest.raises(runtime.ArtifactFormatError, match="expected the entries"):
            runtime.load(forge(release))


@pytest.mark.usefixtures("no_iree")
def test_flipped_bits_with_a_digest_that_fits(release: Release) -> None:
    """Every byte is covered: no flip is loaded, whatever part of the file it is in."""
    generator = random.Random(7)
    refused = (INVALID, MISSING, runtime.ArtifactFormatError, runtime.ArtifactCorruptError)
    end = len(release.data) - 64
    for _ in range(FLIPS):
        changed = bytearray(release.data)
        changed[generator.randrange(4, end)] ^= 1 << generator.randrange(8)
        with pytest.raises(refused):
            runtime.load(forgeries.resealed(bytes(changed)), public_key=release.public_key)


@pytest.mark.usefixtures("no_iree")
def test_every_bit_of_the_signature(release: Release) -> None:
    right = signature(release.data)
    for bit in range(8 * 64):
        wrong = bytearray(right)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(runtime.SignatureInvalidError, match="does not hold"):
            runtime.load(with_signature(release.plain, bytes(wrong)), public_key=release.public_key)


@pytest.mark.usefixtures("no_iree")
def test_a_damaged_file_is_damaged_before_it_is_forged(release: Release) -> None:
    changed = bytearray(release.data)
    changed[100] ^= 1
    with pytest.raises(runtime.ArtifactCorruptError, match="changed or damaged"):
        runtime.load(bytes(changed), public_key=release.public_key)


@pytest.mark.usefixtures("no_iree")
@pytest.mark.parametrize("size", [-(2**20), -200, -100, -1])
def test_end_records_that_point_anywhere(size: int, release: Release) -> None:
    start = release.data.rindex(b"PK\x05\x06")
    for field in (12, 16):
        body = bytearray(release.data)
        (value,) = struct.unpack_from("<L", body, start + field)
        struct.pack_into("<L", body, start + field, (value + size) % 2**32)
        with pytest.raises(runtime.ArtifactFormatError, match="end record does not fit"):
            runtime.load(forgeries.resealed(bytes(body)), public_key=release.public_key)


@pytest.mark.usefixtures("no_iree")
@pytest.mark.parametrize("count", [0, 1, 4, 65_535])
def test_end_records_that_miscount(count: int, release: Release) -> None:
    body = bytearray(release.data)
    struct.pack_into("<2H", body, release.data.rindex(b"PK\x05\x06") + 8, count, count)
    forged = forgeries.resealed(bytes(body))
    with pytest.raises(runtime.ArtifactFormatError):
        runtime.load(forged)
    with pytest.raises(runtime.SignatureError):
        runtime.load(forged, public_key=release.public_key)


# Keys.


def pem_of(key: Any) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def secret_of(key: Any, password: bytes | None = None) -> bytes:
    hidden = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password)
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, hidden)


@pytest.mark.usefixtures("no_iree")
def test_what_is_no_public_key(release: Release) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    wrong = {
        "got a private key": release.private_key,
        "got a public key that is damaged or of another kind": pem_of(curve.public_key()),
        "got something else": b"",
        "got a public": release.public_key[:40] + b"----END PUBLIC KEY-----",
    }
    for message, key in wrong.items():
        with pytest.raises(runtime.SigningKeyError, match=message) as caught:
            runtime.load(release.data, public_key=key)
        assert "--new-key" in str(caught.value)
        assert key.decode() not in str(caught.value) or not key
    with pytest.raises(FileNotFoundError):
        runtime.load(release.data, public_key="none.pub.pem")


def test_what_is_no_private_key(release: Release) -> None:
    curve = secret_of(ec.generate_private_key(ec.SECP256R1()))
    for message, key in {"got a public key": release.public_key, "of another kind": curve}.items():
        with pytest.raises(runtime.SigningKeyError, match=message):
            signed("artifact", release.plain, key)


def test_encrypted_keys(release: Release) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    secret = secret_of(key, b"word")
    data = signed("artifact", release.plain, secret, b"word")
    assert runtime.read_artifact(data, public_key=pem_of(key.public_key()))
    with pytest.raises(runtime.SigningKeyError, match="is encrypted, and no password was given"):
        signed("artifact", release.plain, secret)
    with pytest.raises(runtime.SigningKeyError, match="is the password right"):
        signed("artifact", release.plain, secret, b"other")
    with pytest.raises(runtime.SigningKeyError, match="is not encrypted, and a password was given"):
        signed("artifact", release.plain, release.private_key, b"word")


def test_what_is_signed_is_the_seal(release: Release) -> None:
    """As docs/abi.md has it, for who verifies without this package."""
    seal = seal_of(release.plain)
    assert seal == b"stepforge-sha256:" + runtime.read_artifact(release.plain).sha256.encode()
    assert keys.holds(seal, signature(release.data), release.public_key)


# Without the package `cryptography`.

PROGRAM = """
import sys
from pathlib import Path
from stepforge import runtime
data = Path(sys.argv[1]).read_bytes()
runtime.load(data).close()
assert "cryptography" not in sys.modules, "it was imported and not asked for"

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cryptography":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
try:
    runtime.load(data, public_key=b"")
except runtime.MissingExtraError as error:
    print(error)
"""


def test_the_extra_is_asked_for_only_when_it_is_needed(release: Release, tmp_path: Path) -> None:
    path = tmp_path / "signed.vmfb"
    path.write_bytes(release.data)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, cwd="/"
    )
    assert "pip install 'stepforge[sign]'" in done.stdout, done.stderr
