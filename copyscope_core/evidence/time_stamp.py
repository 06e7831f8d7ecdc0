"""RFC 3161 time stamps of a manifest, by the library rfc3161-client: an authority says when it existed.

``manifest.tsr`` is the authority's answer, so that ``openssl ts -verify -data manifest.json`` checks it too. Nothing is
sent but the manifest's SHA-256, and only to the address that the user gives.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CopyScopeError, StoreError
from ..files.atomic import write_bytes_atomic
from ..store.runs import MANIFEST_FILE, STAMP_FILE
from .findings import Findings
from .manifest import MAX_MANIFEST_BYTES, read_manifest
from .run_files import FolderFiles, RunFiles
from .signature import INSTALL, key_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampRequest, TimeStampResponse

MAX_STAMP_BYTES = 1 << 20
SECONDS = 60
_SHA256 = "2.16.840.1.101.3.4.2.1"
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


class Stamp(NamedTuple):
    """A time stamp that was checked.

    Attributes:
        time: when the manifest existed, UTC, ISO 8601.
        authority: who says so, as its certificate names it.
        trusted: whether its signature was checked, down to a certificate that the user gave.
    """

    time: str
    authority: str
    trusted: bool


def make_request(folder: Path) -> bytes:
    """What an authority is asked (DER, ``application/timestamp-query``).

    Raises:
        CopyScopeError: the library is missing, or the folder has no manifest.
    """
    return bytes(_request(_manifest(FolderFiles(folder))).as_bytes())


def keep_response(folder: Path, response: bytes) -> Stamp:
    """Keep an authority's answer (DER, ``application/timestamp-reply``), if it is one to this manifest.

    Raises:
        CopyScopeError: the library is missing, the folder has no manifest, or the answer is no stamp of it.
    """
    stamp = _checked(_decoded(response), _manifest(FolderFiles(folder)), [])
    write_bytes_atomic(folder / STAMP_FILE, response)
    return stamp


def ask(folder: Path, url: str) -> Stamp:
    """Have an authority on the network stamp the manifest, and keep its answer.

    Raises:
        CopyScopeError: see :func:`keep_response`; the authority cannot be reached, or refuses.
    """
    request = _request(_manifest(FolderFiles(folder)))
    response = asyncio.run(_post(url, request.as_bytes()))
    if _decoded(response).tst_info.nonce != request.nonce:
        raise CopyScopeError(f"{url} answered another question than it was asked; nothing was kept.")
    return keep_response(folder, response)


def check_stamp(run: RunFiles, roots: Path | None, findings: Findings) -> Stamp | None:
    """Check the time stamp, if there is one.

    Args:
        roots: file of the authority's root certificates (PEM); None: the signature is not checked.

    Raises:
        CopyScopeError: ``roots`` holds no certificates.
    """
    try:
        response = run.read(STAMP_FILE, MAX_STAMP_BYTES)
    except FileNotFoundError:
        if roots is not None:
            findings.not_checked(STAMP_FILE, "is not there: nobody stamped the time")
        return None
    except (StoreError, OSError) as error:
        findings.add(STAMP_FILE, f"cannot be read: {error}")
        return None
    try:
        import rfc3161_client  # noqa: F401 - whether it is there
    except ImportError:
        findings.not_checked(STAMP_FILE, INSTALL)
        return None
    trusted = [] if roots is None else _certificates(roots)
    try:
        stamp = _checked(_decoded(response), run.read(MANIFEST_FILE, MAX_MANIFEST_BYTES), trusted)
    except CopyScopeError as error:
        findings.add(STAMP_FILE, f"is no time stamp of this manifest: {error}")
        return None
    if stamp.trusted:
        findings.notes.append(f"The manifest existed at {stamp.time}, says the time stamp of {stamp.authority}.")
    else:
        findings.not_checked(
            STAMP_FILE,
            f"says that {stamp.authority} saw this manifest at {stamp.time}; --tsa-certificate FILE, with the root "
            "certificate of that authority, checks its signature",
        )
    return stamp


def _manifest(run: RunFiles) -> bytes:
    read_manifest(run)
    return run.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)


def _request(manifest: bytes) -> TimeStampRequest:
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError as error:
        raise CopyScopeError("copyscope timestamp needs more libraries: pip install 'copyscope[seal]'.") from error
    return TimestampRequestBuilder().data(manifest).hash_algorithm(HashAlgorithm.SHA256).build()


def _decoded(response: bytes) -> TimeStampResponse:
    """Raises CopyScopeError where the library is missing, or it is no granted stamp."""
    try:
        from rfc3161_client import PKIStatus, decode_timestamp_response
    except ImportError as error:
        raise CopyScopeError("copyscope timestamp needs more libraries: pip install 'copyscope[seal]'.") from error
    try:
        decoded = decode_timestamp_response(response)
        status = decoded.status
    except ValueError as error:
        raise CopyScopeError(f"It is no answer of a time stamp authority ({error}).") from error
    if status not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
        said = "; ".join(decoded.status_string)[:200]
        raise CopyScopeError(f"The authority refused ({PKIStatus(status).name.lower()}{': ' if said else ''}{said}).")
    return decoded


def _checked(response: TimeStampResponse, manifest: bytes, roots: list[Certificate]) -> Stamp:
    """Raises CopyScopeError where the answer is no stamp of the manifest, or none that the roots vouch for."""
    from cryptography.x509 import load_der_x509_certificate
    from rfc3161_client import VerificationError, VerifierBuilder

    try:
        info = response.tst_info
        imprint = info.message_imprint
        if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != hashlib.sha256(manifest).digest():
            raise CopyScopeError("it is of other content.")
        brought = [load_der_x509_certificate(data) for data in sorted(response.signed_data.certificates)]
        if roots:
            others = [item for item in brought if item.issuer != item.subject]
            VerifierBuilder(roots=roots, intermediates=others).build().verify_message(response, manifest)
        signer = next(iter(response.signed_data.signer_infos))
        authority = next(
            item.subject.rfc4514_string()
            for item in [*brought, *roots]
            if item.issuer == signer.issuer and item.serial_number == signer.serial_number
        )
        moment = _utc(info.gen_time)
    except (VerificationError, ValueError, StopIteration) as error:
        raise CopyScopeError(f"its signature does not hold ({error}).") from error
    return Stamp(moment, authority, bool(roots))


def _utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _certificates(path: Path) -> list[Any]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return list(load_pem_x509_certificates(key_file(path)))
    except ValueError as error:
        raise CopyScopeError(f"{path} holds no certificates (PEM) that can be read ({error}).") from error


async def _post(url: str, request: bytes) -> bytes:
    """The authority's answer. Raises CopyScopeError."""
    import aiohttp

    try:
        limit = aiohttp.ClientTimeout(total=SECONDS)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(url, data=request, headers={"Content-Type": _QUERY, "Accept": _REPLY}) as answer,
        ):
            if answer.status != 200:
                raise CopyScopeError(f"{url} answered {answer.status} and gave no time stamp; check the address.")
            data = b""
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > MAX_STAMP_BYTES:
                    raise CopyScopeError(f"{url} answered with more than a time stamp; check the address.")
            return data
    except (aiohttp.ClientError, ValueError, OSError, asyncio.TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise CopyScopeError(
            f"The time stamp authority {url} cannot be reached ({reason}); check its address, or make the request "
            "offline with --request."
        ) from error
