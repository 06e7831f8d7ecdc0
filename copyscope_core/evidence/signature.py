"""Signatures of a manifest: Ed25519, by the library cryptography, over the bytes of ``manifest.json``.

``manifest.sig`` is the signature (64 bytes) and ``manifest.pub`` the public key (PEM), so that OpenSSL checks them too.
A signature proves that whoever holds the key vouched for the manifest. Whose key it is, only the signer can tell, by
giving the public key in another way.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CopyScopeError, StoreError
from ..files.atomic import read_plain, write_bytes_atomic
from ..store.runs import MANIFEST_FILE, SIGNATURE_FILE, SIGNER_FILE
from .findings import Findings
from .manifest import MAX_MANIFEST_BYTES, read_manifest
from .run_files import FolderFiles, RunFiles

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_KEY_BYTES = 1 << 16
HOW_TO_MAKE = "make one with: ssh-keygen -t ed25519 -f key"
INSTALL = "needs the libraries of the extra copyscope[seal]"


def sign(folder: Path, key: Path, password: Callable[[], str]) -> str:
    """Sign the manifest of a run folder and return the key's fingerprint. A signature that is there is replaced.

    Args:
        key: file of an Ed25519 private key, as OpenSSH or OpenSSL (PEM) writes it.
        password: asked for the key's password where it has one.

    Raises:
        CopyScopeError: the library is missing, the key cannot be used, or the folder has no manifest.
    """
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise CopyScopeError("copyscope sign needs more libraries: pip install 'copyscope[seal]'.") from error
    run = FolderFiles(folder)
    read_manifest(run)
    private = _private_key(key, password)
    public = private.public_key()
    write_bytes_atomic(folder / SIGNATURE_FILE, private.sign(run.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)))
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_bytes_atomic(folder / SIGNER_FILE, pem)
    return fingerprint(public)


def check_signature(run: RunFiles, signer: Path | None, findings: Findings) -> str | None:
    """Check the signature, if there is one, and return the fingerprint of the key that it is of.

    Args:
        signer: file of the public key that is expected; None: any key.

    Raises:
        CopyScopeError: ``signer`` is no public key.
    """
    try:
        signature, pem = (run.read(name, MAX_KEY_BYTES) for name in (SIGNATURE_FILE, SIGNER_FILE))
    except FileNotFoundError:
        if _there(run, SIGNATURE_FILE):
            findings.add(SIGNER_FILE, "is gone, so nobody can tell whose signature it is")
        elif _there(run, SIGNER_FILE):
            findings.add(SIGNATURE_FILE, "is gone, though there is the key that signed")
        elif signer is not None:
            findings.not_checked(SIGNATURE_FILE, "is not there: nobody signed")
        return None
    except (StoreError, OSError) as error:
        findings.add(SIGNATURE_FILE, f"cannot be read: {error}")
        return None
    try:
        from cryptography.exceptions import InvalidSignature
    except ImportError:
        findings.not_checked(SIGNATURE_FILE, INSTALL)
        return None
    try:
        public = public_key(pem)
        public.verify(signature, run.read(MANIFEST_FILE, MAX_MANIFEST_BYTES))
    except CopyScopeError:
        findings.add(SIGNER_FILE, "is no Ed25519 public key")
        return None
    except InvalidSignature:
        findings.add(SIGNATURE_FILE, "is not the signature of this manifest by that key")
        return None
    print_of_key = fingerprint(public)
    if signer is None:
        findings.notes.append(f"Signed with the key {print_of_key}; whose key that is, --signer FILE checks.")
    elif public.public_bytes_raw() != _signer(signer).public_bytes_raw():
        findings.add(SIGNATURE_FILE, f"is by another key ({print_of_key}) than that of {signer}")
    else:
        findings.notes.append(f"Signed with the key of {signer} ({print_of_key}).")
    return print_of_key


def public_key(data: bytes) -> Ed25519PublicKey:
    """An Ed25519 public key, from PEM or a line of OpenSSH.

    Raises:
        CopyScopeError: it is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    pem = data.lstrip().startswith(b"-----")
    try:
        key = serialization.load_pem_public_key(data) if pem else serialization.load_ssh_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CopyScopeError(f"It is no public key that can be read ({error}).") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CopyScopeError("It is a public key of another kind than Ed25519.")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """What ``ssh-keygen -l`` calls a key: ``SHA256:…``."""
    from cryptography.hazmat.primitives import serialization

    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"


def key_file(path: Path) -> bytes:
    """The bytes of a small file that the user named.

    Raises:
        CopyScopeError: it cannot be read, or is too large.
    """
    try:
        return read_plain(path.resolve(), MAX_KEY_BYTES)
    except OSError as error:
        raise CopyScopeError(f"{path} cannot be read ({error.strerror or error}); check its name.") from error


def _signer(path: Path) -> Ed25519PublicKey:
    try:
        return public_key(key_file(path))
    except CopyScopeError as error:
        raise CopyScopeError(f"{path} is no signer's key: {error}") from error


def _private_key(path: Path, password: Callable[[], str]) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = key_file(path)
    ssh = b"OPENSSH PRIVATE KEY" in data[:100]
    load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    try:
        try:
            key = load(data, None)
        except TypeError:  # it has a password
            key = load(data, password().encode("utf-8"))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CopyScopeError(
            f"{path} is no private key that can be used, or its password is another ({error}); {HOW_TO_MAKE}."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CopyScopeError(f"{path} is a key of another kind than Ed25519; {HOW_TO_MAKE}.")
    return key


def _there(run: RunFiles, name: str) -> bool:
    try:
        run.read(name, MAX_KEY_BYTES)
    except FileNotFoundError:
        return False
    except (StoreError, OSError):
        pass
    return True
