"""What ``make serve`` asks of the database while the doors still wake up."""

from tomaat.launch.instance import Instance
from TOMAATSettings import Settings


def test_a_database_without_its_tables_is_waited_for(make_database, tmp_path):
    url = make_database()
    instance = Instance(Settings(DATABASE_URL=url, BASE_STORAGE_DIR=tmp_path))
    instance.database_url = url
    assert instance.loading() == []
    instance._offers = lambda: True
    assert not instance.is_ready()


def test_a_database_that_does_not_answer_is_waited_for(tmp_path):
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    instance = Instance(Settings(DATABASE_URL=url, BASE_STORAGE_DIR=tmp_path))
    instance.database_url = url
    instance._offers = lambda: True
    assert not instance.is_ready()
