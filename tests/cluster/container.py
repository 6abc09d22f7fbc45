"""One service as an engine would run it, and commands within it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.cluster.compose import Mount, Service
from tests.cluster.images import Image


class Container:
    """A service in a root folder, a process table and a network of its own.

    ``folder`` keeps what it writes outside its volumes; ``volumes`` holds a folder for each named volume. ``hosts`` is
    its /etc/hosts, ``network`` the name of its network namespace and its host name.
    """

    def __init__(
        self, name: str, service: Service, image: Image, folder: Path, volumes: Path, hosts: str, network: str
    ) -> None:
        self.name = name
        self.service = service
        self.image = image
        self.folder = folder
        self.log = folder.parent / "logs" / f"{name}.log"
        self._volumes = volumes
        self._hosts = hosts
        self._network = network
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start anew: volumes stay, what else was written goes."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("root", "upper", "work"):
            (self.folder / part).mkdir(parents=True)
        self.log.parent.mkdir(exist_ok=True)
        spec = {
            "folder": str(self.folder),
            "layers": [str(layer) for layer in self.image.layers],
            "shared_memory": self.service.shm_size or 64 * 2**20,  # bytes; the engine's default
            "hidden": sorted({"/tmp", os.environ["SWATH_HOME"], str(self.folder.parent)}),  # what no image has
            "mounts": self._mounts(),
            "hosts": self._hosts,
            "hostname": self._network,
            "workdir": self.image.workdir,
            "argv": self._argv(),
        }
        (self.folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        inside = [sys.executable, "-I", Path(__file__).with_name("inside.py"), self.folder / "spec.json"]
        own = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self._network, *own, *inside],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def run(self, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command in it as its user, as ``docker compose exec`` does."""
        kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return subprocess.run(
            ["nsenter", "--target", str(self._first().pid), *kinds, *self._privileges(), *argv],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def wait_healthy(self) -> None:
        """Return at the first good check. Raises ``RuntimeError`` when it ends, or fails as often as it may."""
        check = self.service.healthcheck
        assert check is not None
        kind, *words = check.test
        argv = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
        started, failures = time.monotonic(), 0
        while True:
            young = time.monotonic() - started < check.start_period
            time.sleep(min(check.interval, check.start_interval) if young else check.interval)
            if self.status() is not None:
                raise RuntimeError(f"{self.name} ended with status {self.status()}:\n{self.tail()}")
            try:
                done = self.run(argv, check.timeout)
                said, good = done.stdout + done.stderr, done.returncode == 0
            except subprocess.TimeoutExpired:
                said, good = f"no answer within {check.timeout:.0f} s", False
            if good:
                return
            failures += time.monotonic() - started >= check.start_period
            if failures >= check.retries:
                raise RuntimeError(f"{self.name} is not healthy: {said}\n{self.tail()}")

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait()

    def status(self) -> int | None:
        """Its exit status; ``None`` while it runs."""
        assert self._process is not None
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end. Raises ``RuntimeError`` where its grace period is too short, and it was ended by force."""
        if self._process is None or self._process.poll() is not None:
            return
        self._first().send_signal(self.image.stop)
        try:
            self._process.wait(self.service.stop_grace_period)
        except subprocess.TimeoutExpired:
            self.kill()
            seconds = self.service.stop_grace_period
            raise RuntimeError(f"{self.name} did not end within {seconds:.0f} s:\n{self.tail()}") from None

    def kill(self) -> None:
        """End it at once, as a machine that loses its power does: with the first process go all others."""
        assert self._process is not None
        self._first().kill()
        self._process.wait()

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _first(self) -> psutil.Process:
        """The process that is number 1 within."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children()[0]

    def _argv(self) -> list[str]:
        service, image = self.service, self.image
        entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
        command = service.command or (image.command if service.entrypoint is None else ())
        init = ["tini", "--"] if service.init else []
        return [*self._privileges(), *init, *entrypoint, *command]

    def _privileges(self) -> list[str]:
        user, words = self.image.user, ["setpriv"]
        if user != "root":
            words += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        if "ALL" in self.service.cap_drop:
            words += ["--inh-caps=-all", "--bounding-set=-all"]
        if "no-new-privileges:true" in self.service.security_opt:
            words += ["--no-new-privs"]
        return [*words, "--"]

    def _environment(self) -> dict[str, str]:
        home = "/root" if self.image.user == "root" else f"/home/{self.image.user}"
        return self.image.environment | {"HOME": home, "HOSTNAME": self._network} | self.service.environment

    def _mounts(self) -> list[tuple[str, str, bool]]:
        """Source, target and whether it is read-only; the environment that stands for an image's packages first."""
        packages = {sys.base_prefix, sys.prefix, self.image.environment.get("PYTHONPYCACHEPREFIX", sys.prefix)}
        mounts = [(path, path, True) for path in sorted(packages)]
        for mount in sorted(self.service.volumes, key=lambda mount: mount.target):
            source = mount.source if mount.type == "bind" else str(self._volume(mount))
            mounts.append((str(source), mount.target, mount.read_only))
        return mounts

    def _volume(self, mount: Mount) -> Path:
        """The volume's folder; a new one takes owner, mode and content from the image."""
        folder = self._volumes / mount.source if mount.source else self.folder / "own" / mount.target.lstrip("/")
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            made = [layer / mount.target.lstrip("/") for layer in self.image.layers]
            model = next((path for path in made if path.is_dir()), None)
            if model:
                subprocess.run(["cp", "--archive", model, folder], check=True)
            else:
                folder.mkdir()
        return folder
