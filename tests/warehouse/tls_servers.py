"""PostgreSQL with TLS, on the network: the server of the suite's wheel is built without it."""

import contextlib
import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from include.ops.local.processes import free_port, unprivileged_account
from tests.support.certificates import self_signed

_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104
PASSWORD = "over-the-network"


@dataclass(frozen=True)
class TlsServer:
    """Takes nothing that is not encrypted."""

    dsn: str
    address: str
    certificate: Path

    def url(self, host: str | None = None, **parameters: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        url = self.dsn.replace(self.address, host or self.address)
        return f"{url}?{query}" if query else url


def own_address() -> str:
    """An address of this machine that is not the loopback's."""
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family.name == "AF_INET" and not address.address.startswith("127."):
                return str(address.address)
    pytest.skip("this machine has no network")


@contextlib.contextmanager
def pooler(dsn: str, folder: Path) -> Iterator[TlsServer]:
    """Serve the PostgreSQL of *dsn* as a pooler does that ends TLS."""
    address = own_address()
    certificate, key = self_signed(folder, address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    netloc = dsn.rpartition("@")[2].partition("/")[0]
    host, _, port = netloc.partition(":")
    # all addresses: a test asks for the server by another name
    with socket.create_server(("", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                target = (host, int(port))
                threading.Thread(target=_relay, args=(caller, target, context), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        own = dsn.replace(netloc, f"{address}:{listener.getsockname()[1]}")
        yield TlsServer(own, address, certificate)
        listener.shutdown(socket.SHUT_RDWR)


def _relay(caller: socket.socket, target: tuple[str, int], context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError), caller:
        while (code := struct.unpack("!ii", caller.recv(8, socket.MSG_WAITALL))[1]) == _GSS_REQUEST:
            caller.sendall(b"N")
        if code != _SSL_REQUEST:
            return
        caller.sendall(b"S")
        with (
            context.wrap_socket(caller, server_side=True) as client,
            socket.create_connection(target) as server,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for source, _ in ready.select():
                    data = source.fileobj.recv(65536)  # type: ignore[union-attr]
                    while isinstance(source.fileobj, ssl.SSLSocket) and source.fileobj.pending():
                        data += source.fileobj.recv(65536)
                    if not data:
                        return
                    source.data.sendall(data)


@contextlib.contextmanager
def postgres_with_tls(folder: Path) -> Iterator[TlsServer]:
    """Start the system's PostgreSQL with `ssl = on` and nothing but `hostssl` in pg_hba.conf."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        pytest.skip("no PostgreSQL with TLS is installed on this machine")
    binaries = installed[-1].parent
    account = unprivileged_account()
    address, port = own_address(), free_port()
    certificate, key = self_signed(folder, address)
    home = Path(tempfile.mkdtemp(prefix="hubspot_deals_tls_", dir="/var/tmp"))
    account.chown(home)
    data = home / "data"

    def run(program: str, *arguments: str) -> None:
        with (home / "command.log").open("w") as output:
            subprocess.run(
                [str(binaries / program), *arguments],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
                **account.popen_options,
            )

    try:
        password = home / "password"
        password.write_text(PASSWORD)
        account.chown(password)
        how = ["--auth=scram-sha-256", f"--pwfile={password}", "--username=postgres", "--no-sync"]
        run("initdb", "-D", str(data), *how, "--locale=C", "--encoding=UTF8")
        for file in (certificate, key):
            copy = Path(shutil.copy(file, data))
            copy.chmod(0o600)
            account.chown(copy)
        (data / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n")
        options = f"-c port={port} -c listen_addresses='*' -c unix_socket_directories='' -c ssl=on"
        run("pg_ctl", "start", "-D", str(data), "-w", "-l", str(home / "log"), "-o", options)
        try:
            dsn = f"postgresql://postgres:{PASSWORD}@{address}:{port}/postgres"
            yield TlsServer(dsn, address, certificate)
        finally:
            run("pg_ctl", "stop", "-D", str(data), "-m", "fast", "-w")
    finally:
        shutil.rmtree(home, ignore_errors=True)
