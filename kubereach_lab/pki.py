"""The lab's certificate authority, the API server's certificate and the administrator's kubeconfig.

ECDSA P-256 throughout: a key is made in a fraction of a millisecond, and every client's TLS library takes it.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=365)
#: clocks of clients may be behind
_SKEW = timedelta(hours=1)
ADMIN = "kubernetes-admin"
ADMIN_GROUP = "system:masters"


def _name(common_name: str, organisation: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Pki:
    """A fresh authority with one server and one client certificate; nothing of it is written to disk.

    `addresses` are the IP addresses and `names` the DNS names that the server's certificate is for.
    """

    def __init__(self, addresses: Iterable[str], names: Iterable[str]) -> None:
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = _name("kubernetes")
        self._ca_identifier = x509.SubjectKeyIdentifier.from_public_key(self._ca_key.public_key())
        ca = (
            self._builder(self._ca_name, self._ca_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(True, False, True, False, False, True, False, False, False), critical=True
            )
            .add_extension(self._ca_identifier, critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )
        #: bearer tokens that open the API: the one that is in every pod, and those that were asked for
        self.pod_token = secrets.token_urlsafe(32)
        self.tokens = {self.pod_token}
        self.ca_pem = ca.public_bytes(serialization.Encoding.PEM)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        self.server_pem, self.server_key_pem = self._leaf(
            _name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, alternatives
        )
        self.client_pem, self.client_key_pem = self._leaf(
            _name(ADMIN, ADMIN_GROUP), ExtendedKeyUsageOID.CLIENT_AUTH, []
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        start = datetime.now(timezone.utc) - _SKEW
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + _VALID)
        )

    def _leaf(
        self, subject: x509.Name, usage: x509.ObjectIdentifier, alternatives: list[x509.GeneralName]
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._ca_identifier)
        builder = (
            self._builder(subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True
            )
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(authority, critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._ca_key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)

    def server_context(self) -> ssl.SSLContext:
        """The server's side of TLS. A client's certificate is verified when it presents one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.ca_pem.decode())
        # ssl loads a key from a file only; this one has no name and is gone when it is closed
        descriptor = os.memfd_create("kubereach-api-key", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, self.server_pem + self.server_key_pem)
            context.load_cert_chain(Path(f"/proc/self/fd/{descriptor}"))
        finally:
            os.close(descriptor)
        return context

    def kubeconfig(self, server_url: str) -> str:
        """A kubeconfig (YAML) for the administrator, with all certificates inside. It holds a private key."""

        def encoded(pem: bytes) -> str:
            return base64.b64encode(pem).decode()

        return f"""\
apiVersion: v1
kind: Config
clusters:
- name: kubereach-lab
  cluster:
    server: {server_url}
    certificate-authority-data: {encoded(self.ca_pem)}
users:
- name: {ADMIN}
  user:
    client-certificate-data: {encoded(self.client_pem)}
    client-key-data: {encoded(self.client_key_pem)}
contexts:
- name: kubereach-lab
  context:
    cluster: kubereach-lab
    user: {ADMIN}
current-context: kubereach-lab
"""
