"""Checks that a port is free before anything slow starts."""

import socket

from mm_models.errors import UserError


def check_port(host: str, port: int, flag: str) -> None:
    """Raises UserError naming the flag when `port` is taken; port 0 takes any free one."""
    if not 0 <= port <= 65535:
        raise UserError(f"{flag}={port} is no port; give 0 to 65535 (0 takes any free one)")
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"{flag}={port} on {host} cannot be used ({error.strerror}); "
                "stop what listens there or choose another port"
            ) from None
