"""Tells the service manager that the daemon is ready, where it asks for that (``Type=notify`` of a systemd unit)."""

from __future__ import annotations

import os
import socket


def tell_manager(state: str = "READY=1") -> bool:
    """Send a state to the socket that ``NOTIFY_SOCKET`` names; return whether there is one and it took the message.

    Source:
        systemd, ``sd_notify(3)``.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # a name without a file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError:
        return False
    return True
