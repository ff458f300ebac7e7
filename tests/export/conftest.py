import pytest

from export.client.protocols import GrpcClient, RestClient
from export.server.embedded import EmbeddedServer, ServerConfig
from export.server.models import ModelConfig
from tests.export.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("tiny") / "tiny"
    base_path.mkdir()
    write_tiny_model(base_path, 1, offset=1.0)
    return base_path


@pytest.fixture(scope="session")
def server(tiny_path):
    with EmbeddedServer([ModelConfig("tiny", str(tiny_path))], ServerConfig()) as server:
        yield server


@pytest.fixture(scope="session")
def rest(server):
    with RestClient(f"127.0.0.1:{server.rest_port}", "tiny") as client:
        yield client


@pytest.fixture(scope="session")
def grpc_client(server):
    with GrpcClient(f"127.0.0.1:{server.grpc_port}", "tiny") as client:
        yield client
