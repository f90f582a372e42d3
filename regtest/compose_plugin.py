"""`docker compose` where the distribution has none (Debian 12): the plugin of Debian 13, unpacked.

`python -m regtest.compose_plugin` puts it where docker looks for a user's plugins.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from regtest.cache import cache_folder
from regtest.debian_packages import PackageSet, PackagesUnavailable, unpack

COMPOSE = PackageSet(name="docker-compose", packages=("docker-compose",), suites=(("trixie",),), programs=())


def install_compose_plugin() -> None:
    """Do nothing when `docker compose` works already. Raises `PackagesUnavailable`."""
    if _works():
        return
    folder = cache_folder() / COMPOSE.name
    unpack(COMPOSE, folder, lambda line: print(line, file=sys.stderr))
    plugins = Path.home() / ".docker" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    plugin = plugins / "docker-compose"
    plugin.unlink(missing_ok=True)
    # A static program: it needs none of the unpacked libraries.
    plugin.symlink_to(folder / "root/usr/libexec/docker/cli-plugins/docker-compose")
    if not _works():
        raise PackagesUnavailable("Debian's docker-compose plugin does not run here")


def _works() -> bool:
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=60, check=False)
    except OSError as missing:
        raise PackagesUnavailable("docker is not installed") from missing
    return done.returncode == 0


if __name__ == "__main__":
    try:
        install_compose_plugin()
    except PackagesUnavailable as problem:
        sys.exit(str(problem))
