"""Signatures and time stamps: made, checked by other tools too, and tampered with. The authority is made here."""

from __future__ import annotations

import base64
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from copyscope_core.errors import CopyScopeError, StoreError
from copyscope_core.evidence import time_stamp
from copyscope_core.evidence.bundle import bundle
from copyscope_core.evidence.signature import sign
from copyscope_core.store.runs import STATE_VARIABLE
from tests.evidence.scored import changed, make_scored, unchecked, verified

PEM, SSH = serialization.Encoding.PEM, serialization.Encoding.OpenSSH
NO_PASSWORD = serialization.NoEncryption()
openssl = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(openssl is None, reason="openssl makes the authority")


def no_password() -> str:
    raise AssertionError("nobody is asked")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("sealed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(root / "state"))
        yield make_scored(root)


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A run folder to seal."""
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def key_files(folder: Path, name: str = "key", password: str = "", kind: str = "OpenSSH") -> tuple[Path, Path]:
    """The files of a new key: private, public."""
    key = Ed25519PrivateKey.generate()
    hidden = serialization.BestAvailableEncryption(password.encode()) if password else NO_PASSWORD
    shape = serialization.PrivateFormat.OpenSSH if kind == "OpenSSH" else serialization.PrivateFormat.PKCS8
    private, public = folder / name, folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(PEM, shape, hidden))
    public.write_bytes(key.public_key().public_bytes(SSH, serialization.PublicFormat.OpenSSH))
    return private, public


@pytest.mark.parametrize("kind", ["OpenSSH", "PEM"])
@pytest.mark.parametrize("password", ["", "secret"])
def test_a_signature_holds_in_the_folder_and_in_a_bundle(out: Path, tmp_path: Path, kind: str, password: str) -> None:
    private, public = key_files(tmp_path, password=password, kind=kind)
    made_with = sign(out, private, (lambda: password) if password else no_password)
    assert made_with.startswith("SHA256:")
    for place in (out, bundle(out, tmp_path / "case.zip").path):
        result = verified(place, signer=public)
        assert result.holds
        assert result.signature == made_with
        assert any(f"Signed with the key of {public}" in note for note in result.notes)
        assert any("whose key that is" in note for note in verified(place).notes)
    assert result.as_json()["signature"] == made_with
    if kind == "PEM" and openssl and not password:
        words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", out / "manifest.pub", "-in", out / "manifest.json"]
        subprocess.run([openssl, *map(str, words), "-sigfile", str(out / "manifest.sig")], check=True)


def test_what_does_not_fit_a_signature_is_named(out: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    _, stranger = key_files(tmp_path, "other")
    assert unchecked(verified(out, signer=public)) == ["manifest.sig"]
    sign(out, private, no_password)
    (finding,) = verified(out, signer=stranger).findings
    assert "is by another key" in finding.message
    signature, signer = (out / "manifest.sig").read_bytes(), (out / "manifest.pub").read_bytes()

    def seals(new_signature: bytes | None, new_signer: bytes | None) -> list[str]:
        for name, data in (("manifest.sig", new_signature), ("manifest.pub", new_signer)):
            (out / name).unlink(missing_ok=True)
            if data is not None:
                (out / name).write_bytes(data)
        result = verified(out, signer=public)
        assert result.signature is None
        return changed(result)

    assert seals(bytes(64), signer) == ["manifest.sig"]
    assert seals(b"", signer) == ["manifest.sig"]
    assert seals(signature, b"no key") == ["manifest.pub"]
    assert seals(signature, None) == ["manifest.pub"]
    assert seals(None, signer) == ["manifest.sig"]
    assert seals(signature, stranger.read_bytes()) == ["manifest.sig"]
    (out / "manifest.pub").write_bytes(signer)
    manifest = out / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"seeds"', b' "seeds"'))
    assert changed(verified(out)) == ["manifest.sig", "report.html"]


def test_a_bundle_is_signed_before_it_is_one(out: Path, tmp_path: Path) -> None:
    private, _ = key_files(tmp_path)
    (tmp_path / "law.zip").write_bytes(b"PK")
    with pytest.raises(
        CopyScopeError, match=r"law\.zip is no run folder: sign and time stamp the folder, then bundle it"
    ):
        sign(tmp_path / "law.zip", private, no_password)


def test_a_signed_folder_takes_no_new_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    out = make_scored(tmp_path)
    private, _ = key_files(tmp_path)
    sign(out, private, no_password)
    before = (out / "report.json").read_bytes()
    with pytest.raises(StoreError, match=r"is signed or time stamped.*delete manifest\.sig, manifest\.pub there first"):
        make_scored(tmp_path)
    assert (out / "report.json").read_bytes() == before
    assert verified(out).holds
    for name in ("manifest.sig", "manifest.pub"):
        (out / name).unlink()
    make_scored(tmp_path)
    assert verified(out).holds


@pytest.mark.parametrize(("data", "message"), [(b"no key", "no private key"), (None, "cannot be read")])
def test_keys_that_cannot_be_used_are_refused(out: Path, tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "key").write_bytes(data)
    with pytest.raises(CopyScopeError, match=message):
        sign(out, tmp_path / "key", no_password)


def test_a_wrong_password_and_another_kind_of_key_are_refused(out: Path, tmp_path: Path) -> None:
    private, _ = key_files(tmp_path, password="secret")
    with pytest.raises(CopyScopeError, match="password"):
        sign(out, private, lambda: "other")
    rsa = generate_private_key(65537, 2048)
    private.write_bytes(rsa.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NO_PASSWORD))
    with pytest.raises(CopyScopeError, match="another kind than Ed25519"):
        sign(out, private, no_password)
    with pytest.raises(CopyScopeError, match=r"has no manifest\.json"):
        sign(tmp_path, private, no_password)


CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[stamping]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_chain = yes
ess_cert_id_alg = sha256
"""


class Authority:
    """A time stamp authority of our own: a root, a certificate from it, and OpenSSL to answer."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.root = folder / "root.pem"
        (folder / "serial").write_text("01")
        for part in ("root", "tsa"):
            text = CONFIGURATION.format(name=f"{name} {part}", folder=folder)
            (folder / f"{part}.cnf").write_text(text, encoding="utf-8")
            self._run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", f"{part}.key")
        self._run("req", "-x509", "-new", "-key", "root.key", "-config", "root.cnf", "-extensions", "root", "-days",
                  "2", "-out", "root.pem")  # fmt: skip
        self._run("req", "-new", "-key", "tsa.key", "-config", "tsa.cnf", "-out", "tsa.csr")
        self._run("x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days",
                  "2", "-extfile", "tsa.cnf", "-extensions", "stamping", "-out", "tsa.pem")  # fmt: skip

    def answer(self, request: bytes) -> bytes:
        (self.folder / "query").write_bytes(request)
        self._run("ts", "-reply", "-config", "tsa.cnf", "-section", "authority", "-queryfile", "query", "-out", "reply")
        return (self.folder / "reply").read_bytes()

    def _run(self, *words: str) -> None:
        subprocess.run([str(openssl), *words], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "one", "Test authority")


@needs_openssl
def test_a_time_stamp_by_files_holds_in_the_folder_and_in_a_bundle(
    out: Path, tmp_path: Path, authority: Authority
) -> None:
    stamp = time_stamp.keep_response(out, authority.answer(time_stamp.make_request(out)))
    assert stamp.time.endswith("Z")
    assert stamp.authority == "CN=Test authority tsa"
    for place in (out, bundle(out, tmp_path / "case.zip").path):
        result = verified(place, tsa_certificate=authority.root)
        assert result.holds
        assert result.stamp == stamp._replace(trusted=True)
        assert unchecked(verified(place)) == ["manifest.tsr"]
    words = ["ts", "-verify", "-in", out / "manifest.tsr", "-data", out / "manifest.json", "-CAfile", authority.root]
    subprocess.run([str(openssl), *map(str, words)], check=True)


@needs_openssl
def test_what_does_not_fit_a_time_stamp_is_named(out: Path, tmp_path: Path, authority: Authority) -> None:
    assert unchecked(verified(out, tsa_certificate=authority.root)) == ["manifest.tsr"]
    response = authority.answer(time_stamp.make_request(out))
    time_stamp.keep_response(out, response)
    stranger = Authority(tmp_path / "other", "Another authority")
    assert changed(verified(out, tsa_certificate=stranger.root)) == ["manifest.tsr"]
    stamped = out / "manifest.tsr"
    for place in (40, len(response) // 2, len(response) - 20):
        damaged = bytearray(response)
        damaged[place] ^= 0x55
        stamped.write_bytes(damaged)
        assert changed(verified(out, tsa_certificate=authority.root)) == ["manifest.tsr"], place
    for data in (b"", b"no stamp", response[:-5]):
        stamped.write_bytes(data)
        assert changed(verified(out)) == ["manifest.tsr"]
    stamped.write_bytes(response)
    manifest = out / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"seeds"', b' "seeds"'))
    assert changed(verified(out)) == ["manifest.tsr", "report.html"]
    with pytest.raises(CopyScopeError, match="it is of other content"):
        time_stamp.keep_response(out, response)


class _Handler(http.server.BaseHTTPRequestHandler):
    authority: Authority
    mode = "answers"

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/timestamp-query"
        if self.mode == "replays":
            request = base64.b64decode(self.path.partition("?")[2])
        data = b"x" * (2 << 20) if self.mode == "floods" else self.authority.answer(request)
        self.send_response(503 if self.mode == "is busy" else 200)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(authority: Authority) -> Iterator[http.server.ThreadingHTTPServer]:
    _Handler.authority, _Handler.mode = authority, "answers"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@needs_openssl
def test_a_time_stamp_over_the_network(out: Path, server: http.server.ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}/"
    stamp = time_stamp.ask(out, url)
    assert verified(out).stamp == stamp
    (out / "manifest.tsr").unlink()
    for mode, message in (
        ("is busy", "answered 503"),
        ("floods", "more than a time stamp"),
        ("replays", "another que"),
    ):
        _Handler.mode = mode
        with pytest.raises(CopyScopeError, match=message):
            time_stamp.ask(out, f"{url}?{base64.b64encode(time_stamp.make_request(out)).decode()}")
    with pytest.raises(CopyScopeError, match="cannot be reached"):
        time_stamp.ask(out, "http://127.0.0.1:1/")
    assert not (out / "manifest.tsr").exists()
