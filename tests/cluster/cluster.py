"""All services on one network, started in the order that they ask for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import boto3

from tests.cluster.compose import read
from tests.cluster.container import Container
from tests.cluster.images import image_of

GATEWAY = "10.87.0.1"  # this machine as the containers see it
_ADDRESS = "10.87.0.{}"


class Cluster:
    """What ``docker compose up`` makes of docker-compose.yml and ``env_file``, with all that it keeps below ``folder``.

    ``outside`` are further host names, of this machine. To be used within ``tests/cluster/run``.
    """

    def __init__(self, folder: Path, env_file: Path, outside: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.volumes = folder / "volumes"
        services = read(env_file)
        self._addresses = addresses = {name: _ADDRESS.format(place) for place, name in enumerate(services, start=10)}
        hosts = ["127.0.0.1 localhost", f"{GATEWAY} {' '.join(outside)}"]
        hosts += [f"{address} swath-{name}-1 {name}" for name, address in addresses.items()]
        self.services: dict[str, Container] = {}
        self._forwards: list[subprocess.Popen[bytes]] = []
        _bridge()
        images = folder / "images"  # layers of one file system may not lie within each other
        images.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", images], check=True)
        for name, service in services.items():
            network = f"swath-{name}-1"
            _connect(network, addresses[name], len(self.services))
            image = image_of(service, images)
            self.services[name] = Container(
                name, service, image, folder / name, self.volumes, "\n".join(hosts) + "\n", network
            )
            for port in service.ports:
                listen = f"TCP-LISTEN:{port.published},bind={port.host_ip},reuseaddr,fork"
                self._forwards.append(subprocess.Popen(["socat", listen, f"TCP:{addresses[name]}:{port.target}"]))

    def up(self) -> None:
        """Start every service once those that it depends on are healthy or have ended well, and wait for all."""
        order = TopologicalSorter(self._needs()).static_order()
        ready: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(self.services)) as pool:
            for name in order:
                needs = [ready[need] for need in self._needs()[name]]
                ready[name] = pool.submit(_after, needs, partial(self._start, self.services[name]))
        for future in ready.values():
            future.result()

    def down(self) -> None:
        """Stop all, each once those that depend on it have stopped; volumes stay."""
        order = list(TopologicalSorter(self._needs()).static_order())
        stopped: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(self.services)) as pool:
            for name in reversed(order):
                users = [stopped[user] for user, needs in self._needs().items() if name in needs]
                stopped[name] = pool.submit(_after, users, self.services[name].stop)
        for future in stopped.values():
            future.result()

    def store(self) -> Any:
        """A client of the S3 store."""
        environment = self.services["setup"].service.environment
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self._addresses['s3']}:8333",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
        )

    def _needs(self) -> dict[str, list[str]]:
        return {name: list(container.service.depends_on) for name, container in self.services.items()}

    def _start(self, container: Container) -> None:
        container.start()
        if self._is_one_shot(container.name):
            if container.wait() != 0:
                raise RuntimeError(f"{container.name} ended with status {container.status()}:\n{container.tail()}")
        else:
            container.wait_healthy()

    def _is_one_shot(self, name: str) -> bool:
        asked = [c.service.depends_on[name] for c in self.services.values() if name in c.service.depends_on]
        return any(dependency.condition == "service_completed_successfully" for dependency in asked)


def _after(others: list[Future[None]], act: Callable[[], None]) -> None:
    for other in others:
        other.result()
    act()


def _bridge() -> None:
    _ip("link", "add", "swath", "type", "bridge")
    _ip("address", "add", f"{GATEWAY}/24", "dev", "swath")
    _ip("link", "set", "swath", "up")


def _connect(network: str, address: str, number: int) -> None:
    """A network namespace with one card at ``address``, on the bridge."""
    _ip("netns", "add", network)
    _ip("link", "add", f"swath{number}", "type", "veth", "peer", "name", "eth0", "netns", network)
    _ip("link", "set", f"swath{number}", "master", "swath", "up")
    _ip("-netns", network, "address", "add", f"{address}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _ip("-netns", network, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
