"""Checks that a port is free before anything slow starts."""

import socket

from mm_models.errors import UserError


def check_port(host: str, port: int, flag: str) -> None:
    """Raises UserError naming the flag when `port` is taken, or `host` is no address of this
    machine; port 0 takes any free one."""
    if not 0 <= port <= 65535:
        raise UserError(f"{flag}={port} is no port; give 0 to 65535 (0 takes any free one)")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise UserError(
            f"--host={host} is no address; give one of this machine, such as 127.0.0.1 or ::1"
        ) from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise UserError(
                f"{flag}={port} on {host} cannot be used ({error.strerror}); "
                "stop what listens there or choose another port"
            ) from None
