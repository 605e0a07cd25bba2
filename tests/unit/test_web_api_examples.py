from dataclasses import replace

import pytest

from tests.unit.fake_store import SMOOTH, Web, offered


@pytest.fixture
def web(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/head.nii.gz").write_bytes(b"a head")
    (tmp_path / "examples/other.nii.gz").write_bytes(b"no service's")
    made = Web(tmp_path)
    example = {"scan": {"file": "head.nii.gz", "about": "A phantom."}, "sigma": 2.0}
    made.store.services = [replace(offered("Smooth", SMOOTH), example=example)]
    yield made
    made.close()


def example(web):
    (service,) = web.client.get("/supportedservices").get_json()
    return service["example"]


def test_an_example_tells_the_address_of_its_volume_which_is_sent_from_there(web):
    assert example(web) == {"scan": {"file": "/examples/head.nii.gz", "about": "A phantom."}, "sigma": 2.0}
    assert web.client.get("/examples/head.nii.gz", buffered=True).get_data() == b"a head"


def test_an_example_whose_volume_is_not_here_is_none(web, tmp_path):
    (tmp_path / "examples/head.nii.gz").unlink()
    assert example(web) == {}


@pytest.mark.parametrize("name", ["other.nii.gz", "..%2fhead.nii.gz", "..", ""])
def test_what_no_service_names_is_not_sent(web, name):
    assert web.client.get(f"/examples/{name}", buffered=True).status_code == 404
