"""Both transports, by the same names: the library's own and the service's."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from telegram import Bot
from telegram.error import TelegramError
from telegram.request import BaseRequest, HTTPXRequest

from bot.transport import AiohttpRequest
from tests.support.factories import TOKEN

OK: dict[str, object] = {
    "ok": True,
    "result": {"message_id": 7, "date": 1, "chat": {"id": 1, "type": "private"}, "text": "hello"},
}
OK_BYTES = json.dumps(OK).encode()
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + OK_BYTES
NEVER_IN_TIME = 0.15
"""Seconds for what does not come."""


def library(**options: Any) -> BaseRequest:
    """Return the library's own."""
    return HTTPXRequest(connection_pool_size=options.pop("pool_size", 256), **options)


def ours(**options: Any) -> BaseRequest:
    """Return the service's."""
    return AiohttpRequest(**options)


MakeRequest = Callable[..., BaseRequest]
both = pytest.mark.parametrize("make", [library, ours])


def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proxy of this machine in, and have `retry_after` in its coming form, since the old one warns."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PTB_TIMEDELTA", "1")


def bot_of(url: str, request: BaseRequest) -> Bot:
    """Return the library's bot over a transport."""
    return Bot(TOKEN, f"{url}/bot", f"{url}/file/bot", request=request, get_updates_request=request)


async def failure_of(url: str, request: BaseRequest, **timeouts: float | None) -> TelegramError:
    """Return the error that sending a message ends in."""
    async with request:
        with pytest.raises(TelegramError) as caught:
            await bot_of(url, request).send_message(1, "hello", **timeouts)  # type: ignore[arg-type]
    return caught.value


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for 127.0.0.1 that signs itself."""

    server: ssl.SSLContext
    file: Path


def make_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a new one."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return Certificate(context, file)
