"""One world of compute sources: the API, the metrics, the manager and the operators' page say the same of each."""

from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fuzz import LIMITS
from tomaat.access.audit import Audit
from tomaat.access.key_store import KeyStore
from tomaat.database import ENDED, Hints
from tomaat.manager.choosing import Expectations
from tomaat.storage import Storage
from tomaat.tickets.operator_store import OperatorStore
from tomaat.tickets.ticket_store import AgainRules
from tomaat.web.api.api import Api
from tomaat.web.api.examples import Examples
from tomaat.web.api.waiters import Waiters
from tomaat.web.http.access import Access
from tomaat.web.http.addresses import Proxies
from tomaat.web.http.app import create_app
from tomaat.web.operator.operator import Operator
from tomaat.web.watch.health import Health
from tomaat.web.watch.metrics import Metrics

RULES = AgainRules(retention_seconds=3600.0, keep_input=False)
SLOW_SECONDS = 30.0  #: that a slow machine may take from the making of the world to the last look at it


@dataclass(frozen=True, kw_only=True)
class Row:
    """A compute source, and what everybody must say of it; its one service, which no other offers, has its name."""

    name: str
    held: bool
    takes_tickets: bool
    waiting: int = 0
    wait_seconds: float = 0.0


ROWS = (
    Row(name="free", held=True, takes_tickets=True),
    Row(name="busy", held=True, takes_tickets=True, waiting=1, wait_seconds=2010.0),
    Row(name="drained", held=True, takes_tickets=False, waiting=1, wait_seconds=10.0),
    Row(name="problem", held=True, takes_tickets=False),
    Row(name="lapsed", held=False, takes_tickets=False),
    Row(name="lapsed and drained", held=False, takes_tickets=False),
    Row(name="not offered anew", held=True, takes_tickets=False),
    Row(name="never offered", held=True, takes_tickets=False),
)
#: Services that two sources offer, and the source that a new ticket would be given to.
SHARED = {"of free and busy": "free", "of busy and drained": "busy", "of problem and lapsed": None}


class World:
    """The sources as ``ROWS`` has them, the doors' stores on them, and the web server's views on these."""

    def __init__(self, bench, folder, database_url):
        self.bench = bench
        self.operator = OperatorStore(bench.database, bench.hints.append)
        self.lanes = {row.name: self.source(row.name) for row in ROWS if row.name != "never offered"}
        for row in ROWS:
            getattr(self, row.name.replace(" ", "_"))(row.name)
        keys, audit, storage = KeyStore(bench.database), Audit(bench.database), Storage(folder)
        storage.prepare()
        self.key = keys.make("anna", None, operator=True)
        access = Access(keys, Proxies(()), needed=False, most_waiting=10, most_within_a_minute=10, most_wrong_keys=5)
        self.waiters = Waiters(bench.web, Hints(database_url, ENDED, deadline_seconds=10), places=1, poll_seconds=1.0)
        api = Api(
            bench.web,
            storage,
            self.waiters,
            access,
            audit,
            examples=Examples(folder / "examples"),
            archive_limits=LIMITS,
            largest_voxel_bytes=2**30,
            longest_wait_seconds=30,
            longest_queue=100,
            keep_labels=True,
            still_loading=lambda: False,
        )
        operator = Operator(self.operator, bench.web, storage, access, audit, rules=RULES)
        app = create_app(api, operator, Metrics(bench.watch, storage, access), Health(bench.watch, storage))
        self.client = app.test_client()

    def source(self, name):
        shared = [service for service in SHARED if name in service.removeprefix("of ").split(" and ")]
        return self.bench.source(name, services=(name, *shared))

    def queued(self, name, expected_seconds=10.0):
        ticket = self.bench.submit(name)
        self.bench.queue(ticket, name)
        self.lanes[name].estimate({ticket.id: expected_seconds})
        return ticket

    def free(self, name):
        """Nothing runs, nothing waits."""

    def busy(self, name):
        """Two tickets run: the first is packed, the second is performed; a third waits."""
        for expected_seconds in (1000.0, 2000.0):
            self.queued(name, expected_seconds)
            assert self.lanes[name].claim([f"{name}-1"]) is not None
        self.queued(name)

    def drained(self, name):
        """An operator has drained it while a ticket waited."""
        self.queued(name)
        assert self.operator.drain(name, operator="anna")

    def problem(self, name):
        """It cannot be used."""
        lease = self.lanes[name].lease
        self.bench.sources.describe(lease, device_name="GPU", memory_bytes=None, problem="its driver is too old")

    def lapsed(self, name):
        """Its holder has not renewed the lease."""
        self.bench.lapse(name)

    def lapsed_and_drained(self, name):
        """Its holder is gone, and it is drained."""
        assert self.operator.drain(name, operator="anna")
        self.bench.lapse(name)

    def not_offered_anew(self, name):
        """Another TaskScheduling has taken it, and its worker is not ready yet."""
        self.bench.lapse(name)
        assert self.bench.sources.take(name, "another") is not None

    def never_offered(self, name):
        """Its first worker is not ready yet."""
        lease = self.bench.sources.take(name, "a")
        self.bench.sources.describe(lease, device_name="GPU", memory_bytes=None, problem=None)

    def services(self):
        return {each["name"]: each for each in self.client.get("/supportedservices").get_json()}

    def metrics(self):
        text = self.client.get("/metrics").get_data(as_text=True)
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def page(self):
        answer = self.client.get("/queues", headers={"X-API-Key": self.key, "Accept": "application/json"})
        return {each["name"]: each for each in answer.get_json()["sources"]}

    def queues(self):
        return {queue.source: queue for queue in self.bench.manager.queues()}


@pytest.fixture
def world(bench, tmp_path, database_url):
    made = World(bench, tmp_path, database_url)
    yield made
    made.waiters.close()


def about(seconds):
    """What the clock has left of seconds when they are read."""
    return pytest.approx(seconds - SLOW_SECONDS / 2, abs=SLOW_SECONDS / 2 + 0.1) if seconds > 100 else seconds


def test_everybody_says_the_same_of_each_source(world):
    services, metrics, page, queues = world.services(), world.metrics(), world.page(), world.queues()
    for row in ROWS:
        name = row.name
        assert metrics["tomaat_source_held", name] == row.held, name
        assert metrics["tomaat_source_usable", name] == row.takes_tickets, name
        assert metrics["tomaat_queue_tickets", name] == row.waiting, name
        assert metrics["tomaat_queue_seconds", name] == about(row.wait_seconds), name
        assert queues[name].live == row.takes_tickets, name
        assert Expectations([]).free(queues[name])[0] == about(row.wait_seconds), name
        assert (page[name]["live"], page[name]["takes_tickets"]) == (row.held, row.takes_tickets), name
        assert page[name]["waiting"] == row.waiting, name
        if name == "never offered":
            assert name not in services
            continue
        assert services[name]["available"] == row.takes_tickets, name
        assert metrics["tomaat_service_available", name] == row.takes_tickets, name
        assert services[name]["waiting"] == (row.waiting if row.takes_tickets else None), name
        assert services[name]["wait_seconds"] == (about(row.wait_seconds) if row.takes_tickets else None), name


def test_everybody_says_the_same_of_a_service_that_two_sources_offer(world):
    services, metrics = world.services(), world.metrics()
    rows = {row.name: row for row in ROWS}
    for service, source in SHARED.items():
        assert services[service]["available"] == (source is not None), service
        assert metrics["tomaat_service_available", service] == (source is not None), service
        assert services[service]["waiting"] == (None if source is None else rows[source].waiting), service
        expected = None if source is None else about(rows[source].wait_seconds)
        assert services[service]["wait_seconds"] == expected, service


def test_a_ticket_is_told_what_its_source_tells(world):
    """The third of the busy source waits as long as a new one would, which it is before."""
    (last,) = world.bench.run("SELECT id FROM tickets WHERE source = 'busy' AND state = 'queued'")
    outlook = world.bench.outlook(world.bench.web.find(last.id))
    assert (outlook.position, outlook.eta_seconds) == (1, about(2010.0))
