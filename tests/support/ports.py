"""Ports for servers that are told theirs when they start."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
