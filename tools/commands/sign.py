"""`stepforge sign`: put an Ed25519 signature into an artifact, or make the keys for it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stepforge.runtime.container import sign_artifact
from stepforge.runtime.signatures import new_key_pair
from stepforge.tools.errors import ToolError
from stepforge.tools.verb import Verb, json_option, log, print_json


@click.command("sign", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="KEY.pem",
    help="The private key: Ed25519, in PEM. The password of an encrypted one is asked for.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Where the signed artifact goes; by default in the place of FILE.",
)
@click.option(
    "--new-key",
    type=click.Path(path_type=Path),
    metavar="KEY.pem",
    help="Instead of signing: make a private key, and its public key in KEY.pub.pem.",
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@json_option
def sign_command(
    file: Path | None,
    key: Path | None,
    output: Path | None,
    new_key: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Sign the artifact FILE, so that it can be told from one that others made or changed.

    It is checked and read, and nothing of it is run. A signature that it has is replaced. Whoever
    has the public key asks for the signature with `stepforge verify-signature`, or with
    `runtime.load(..., public_key=...)`.
    """
    if new_key is not None:
        if file is not None or key is not None or output is not None:
            raise click.UsageError("--new-key stands alone: make the keys first, then sign")
        facts = _make_keys(new_key)
        text = f"private key: {new_key} (keep it secret)\npublic key: {facts['public_key']}"
    elif file is None or key is None:
        raise click.UsageError("expected FILE and --key KEY.pem, or --new-key KEY.pem")
    else:
        artifact = sign_artifact(file, key, output, password=_password(key), force=force)
        place = file if output is None else output
        facts = {"file": str(place), "sha256": artifact.sha256}
        text = f"{place}: signed, SHA-256 of what was signed {artifact.sha256}"
    if as_json:
        print_json(facts)
        return
    click.echo(text)


def _make_keys(private: Path) -> dict[str, str]:
    public = private.with_name(f"{private.stem}.pub.pem")
    taken = [str(path) for path in (private, public) if path.exists()]
    if taken:
        raise ToolError(f"{', '.join(taken)} exists; a key is never overwritten: choose a new name")
    secret, shown = new_key_pair()
    _create(private, secret, 0o600)
    _create(public, shown, 0o644)
    return {"private_key": str(private), "public_key": str(public)}


def _create(path: Path, data: bytes, mode: int) -> None:
    """A new file that nobody beyond `mode` could ever read, not even for a moment."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as stream:
        stream.write(data)


def _password(key: Path) -> bytes | None:
    if b"ENCRYPTED" not in key.read_bytes():
        return None
    log(f"{key} is encrypted")
    answer: str = click.prompt("Password", hide_input=True, err=True)
    return answer.encode()
