"""Where on this machine something is that a service expects in its container, or on its network."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from include.ops.local.processes import free_port
from tests.ops.compose.compose import ROOT, Mount, Service

HOME = "/opt/airflow"


@dataclass(frozen=True)
class Places:
    """Ports of 127.0.0.1 for those of the services, directories below *folder* for paths."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {
            name: free_port() for name in ("apiserver", "health", "redis", "simulator")
        }
    )

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name

    @property
    def home(self) -> Path:
        """What is `/opt/airflow` in the containers."""
        return self.folder / HOME.lstrip("/")

    def of(self, service: Service, text: str) -> str:
        """Replace host names, ports and paths of a service's container by what they are here."""
        if text == "8090":
            return str(self.ports["simulator"])
        if text == "0.0.0.0":  # noqa: S104 - the container's
            return "127.0.0.1"
        for there, here in self._addresses().items():
            text = text.replace(there, here)
        targets = {HOME: self.home, **{m.target: self._source(m) for m in service.mounts}}
        # The longest first: /run/secrets is the beginning of /run/secrets-owner. What is replaced
        # is not looked at again.
        for target in sorted(targets, key=len, reverse=True):
            text = text.replace(target, str(targets[target]).replace("/", "\0"))
        return text.replace("\0", "/")

    def _addresses(self) -> dict[str, str]:
        there = {
            "postgres:5432": "postgres",
            "redis:6379": "redis",
            "airflow-apiserver:8080": "apiserver",
            "localhost:8080": "apiserver",
            "localhost:8974": "health",
            "simulator:8090": "simulator",
            "localhost:8090": "simulator",
        }
        addresses = {name: f"127.0.0.1:{self.ports.get(port)}" for name, port in there.items()}
        return {**addresses, "-p 6379": f"-p {self.ports['redis']}"}

    def _source(self, mount: Mount) -> Path:
        return self.volume(mount.source) if mount.kind == "volume" else ROOT / mount.source


def unavailable() -> str:
    """Say what is missing on this machine, empty if nothing is."""
    missing = [name for name in ("redis-server", "redis-cli", "curl") if not shutil.which(name)]
    return f"not installed: {', '.join(missing)}" if missing else ""
