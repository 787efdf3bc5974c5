from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.s3 import KEYS, Flaky, s3_server

from dfbench.storage import remote

pytest.importorskip("s3fs", reason="needs s3fs: pip install 'dfbench[s3]'")
pytest.importorskip("moto.server", reason="needs moto's server: pip install 'dfbench[dev]'")


@dataclass(frozen=True)
class S3:
    """A server, and a proxy before it that is asked by everybody here."""

    port: int
    flaky: Flaky

    @property
    def direct(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def server() -> Iterator[S3]:
    with s3_server() as port:
        flaky = Flaky(port)
        yield S3(port, flaky)
        flaky.close()


@pytest.fixture
def s3(
    server: S3, fresh: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Return the URL of an empty bucket of a test's own; the way there is by the proxy.

    Clients are kept by process, and know the proxy that was there when they were made.
    """
    import fsspec

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.flaky.url)
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    server.flaky.follow(lambda asked: None)
    bucket = f"test-{abs(hash(request.node.nodeid)):x}"
    fsspec.filesystem("s3", endpoint_url=server.direct).mkdir(bucket)
    yield f"s3://{bucket}/place"
    server.flaky.follow(lambda asked: None)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Let no client of another environment be used again."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()
