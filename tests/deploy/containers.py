"""Builds images and runs containers with buildah and podman, as root on Debian.

Nothing of the machine comes into an image: its CA bundle and its package index are secrets of the
build, mounted while packages are installed and gone afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.repository import REPOSITORY

BASE = "localhost/brainformer-test-base"
RELEASE = "trixie"
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
# What compose.yaml and the chart say of every container of ours.
HARDENED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
# Containers under other init systems inherit limits that runc may not raise.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")


class Containers:
    """Images and containers of one run of the tests; the containers go with it.

    Args:
        folder: For the base's archive and the build's secrets.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = f"brainformer-test-{os.getpid()}"
        self._started: list[str] = []
        runtime = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        self._podman = ["podman", f"--runtime={runtime}", "--cgroup-manager=cgroupfs"]
        self._storage: dict[str, str] = {}
        if self._finished("podman", "info").returncode:  # no overlay on this file system
            self._storage = {"STORAGE_DRIVER": "vfs"}

    def make_base(self) -> str:
        """Returns the name of a Debian image with Python, made of packages."""
        if self._finished("podman", "image", "exists", BASE).returncode == 0:
            return BASE
        archive = self._folder / "base.tar"
        packages = "--include=python3,python3-venv,ca-certificates"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", packages, RELEASE, str(archive)]
        self._run(*command, _mirror(), seconds=300)
        self._run("podman", "import", "--quiet", str(archive), BASE, seconds=120)
        archive.unlink()
        return BASE

    def build(self, name: str, **arguments: str) -> str:
        """Returns the image that deploy/NAME.Dockerfile builds, on the base."""
        tag = "-".join(["localhost/brainformer", name, *arguments.values()])
        given = {"PYTHON_IMAGE": self.make_base(), **arguments}
        # chroot isolation needs no control groups of its own; docker's format has health checks.
        command = ["buildah", "bud", "--isolation=chroot", "--format=docker", "--layers"]
        command += [f"--build-arg={key}={value}" for key, value in given.items()]
        command += [f"--secret=id={file.name},src={file}" for file in self._secrets()]
        command += [f"--file={REPOSITORY}/deploy/{name}.Dockerfile", f"--tag={tag}"]
        self._run(*command, str(REPOSITORY), seconds=600)
        return tag

    def inspect(self, name: str) -> dict[str, Any]:
        """Returns what podman tells of an image or a container."""
        found: list[dict[str, Any]] = json.loads(self._run("podman", "inspect", name))
        return found[0]

    def once(
        self, image: str, *command: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs a container to its end."""
        given = (*HARDENED, *LIMITS, "--network=none", "--no-healthcheck", "--rm", *options)
        return self._finished(*self._podman, "run", *given, image, *command)

    def start(self, role: str, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
        """Returns the name of a container that runs in the background."""
        name = f"{self._prefix}-{role}"
        self._started.append(name)
        given = (*HARDENED, *LIMITS, f"--name={name}", "--detach", *options)
        self._run(*self._podman, "run", *given, image, *command)
        return name

    def execute(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in a container."""
        return self._finished(*self._podman, "exec", name, *command)

    def healthy(self, name: str) -> bool:
        """Returns whether the image's own health check passes now."""
        return self._finished(*self._podman, "healthcheck", "run", name).returncode == 0

    def logs(self, name: str) -> str:
        """Returns all that a container has said."""
        told = self._finished("podman", "logs", name)
        return told.stdout + told.stderr

    def stop(self, name: str) -> int:
        """Ends a container with SIGTERM; returns its exit code, 137 if it took half a minute."""
        self._run(*self._podman, "stop", "--time=30", name)
        code: int = self.inspect(name)["State"]["ExitCode"]
        return code

    def volume(self, role: str) -> str:
        """Returns the name of a volume; it goes with the last container."""
        return f"{self._prefix}-{role}"

    def beside(
        self, name: str, *command: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs this interpreter in a container's network, outside of the container."""
        process = self.inspect(name)["State"]["Pid"]
        enter = ("nsenter", f"--net=/proc/{process}/ns/net")
        return self._finished(*enter, sys.executable, *command, **environment)

    def remove(self) -> None:
        """Removes the containers, those that joined others first, and their volumes."""
        for name in reversed(self._started):
            self._finished("podman", "rm", "--force", "--volumes", "--time=0", name)
        volumes = self._run("podman", "volume", "ls", "--quiet").split()
        for name in volumes:
            if name.startswith(self._prefix):
                self._finished("podman", "volume", "rm", "--force", name)

    def _secrets(self) -> list[Path]:
        """Returns pip's settings and the CA bundle of this machine, as files for the build."""
        settings, bundle = self._folder / "pip.conf", self._folder / "ca.pem"
        given = [os.environ[name] for name in CERTIFICATES if name in os.environ]
        shutil.copy([*given, "/etc/ssl/certs/ca-certificates.crt"][0], bundle)
        lines = ["[global]", "cert = /run/secrets/ca.pem", "timeout = 60"]
        index = (
            os.environ.get("PIP_INDEX_URL")
            or self._finished(
                sys.executable, "-m", "pip", "config", "get", "global.index-url"
            ).stdout.strip()
        )
        lines += [f"index-url = {index}"] if index else []
        settings.write_text("\n".join(lines) + "\n")
        settings.chmod(0o600)
        return [settings, bundle]

    def _finished(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**os.environ, **self._storage, **environment},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )

    def _run(self, *command: str, seconds: float = 120) -> str:
        done = subprocess.run(
            command,
            env={**os.environ, **self._storage},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@contextmanager
def containers(folder: Path) -> Iterator[Containers]:
    """Yields the containers, and removes them afterwards."""
    made = Containers(folder)
    try:
        yield made
    finally:
        made.remove()


def _mirror() -> str:
    """Returns the Debian archive that this machine itself installs from."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in told.stdout.split() if re.search(r"/debian/?$", line)]
    return [*found, "http://deb.debian.org/debian"][0]
