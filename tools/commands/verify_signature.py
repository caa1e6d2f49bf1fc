"""`stepforge verify-signature`: was this artifact signed with that key, and not changed since?"""

from __future__ import annotations

from pathlib import Path

import click

from stepforge.runtime.container import read_artifact
from stepforge.tools.verb import Verb, json_option, print_json


@click.command("verify-signature", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PUB.pem",
    help="The public key of whoever signs: Ed25519, in PEM.",
)
@json_option
def verify_signature_command(file: Path, public_key: Path, as_json: bool) -> None:
    """Say whether the artifact FILE was signed with the private half of a public key.

    The exit code is 1 when it has no signature, or one that does not hold, and 3 when the file is
    damaged. Nothing of it is run.
    """
    artifact = read_artifact(file, public_key=public_key)
    if as_json:
        print_json({"file": str(file), "sha256": artifact.sha256, "signed": True})
        return
    click.echo(f"{file}: the signature holds, SHA-256 of what was signed {artifact.sha256}")
