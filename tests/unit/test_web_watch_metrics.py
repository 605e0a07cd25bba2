import dataclasses
import itertools
from types import SimpleNamespace

import pytest
import structlog
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.fake_store import Web, packed
from tomaat.tickets.watch_store import EndedTicket, SourceNow, Unended
from tomaat.web.http.problems import invalid
from tomaat.web.watch import Metrics

GPU = SourceNow(
    name="here/GPU-a",
    held=True,
    usable=True,
    drained=False,
    waiting=3,
    wait_seconds=12.5,
    used_bytes=5,
    total_bytes=10,
    use=0.25,
    celsius=61.0,
    read_seconds=2.0,
)
ENDED = EndedTicket(
    id=1, service="FloatComputation", outcome="succeeded", problem=None, attempts=1, wait_seconds=7.0, run_seconds=100.0
)


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


def scrape(web, **headers):
    answer = web.client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.get_data()
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def test_the_state_of_the_world_is_read_at_the_scrape(web):
    web.watch.unended = [Unended(service="FloatComputation", state="queued", tickets=3, oldest_seconds=40.0)]
    web.watch.sources = [GPU]
    seen = scrape(web)
    assert seen["tomaat_tickets", "FloatComputation", "queued"] == 3
    assert seen["tomaat_tickets", "FloatComputation", "running"] == 0
    assert seen["tomaat_oldest_ticket_seconds", "FloatComputation", "queued"] == 40
    assert (seen["tomaat_queue_tickets", "here/GPU-a"], seen["tomaat_queue_seconds", "here/GPU-a"]) == (3, 12.5)
    for name, value in {
        "source_held": 1,
        "source_usable": 1,
        "source_drained": 0,
        "device_memory_used_bytes": 5,
        "device_memory_total_bytes": 10,
        "device_use_ratio": 0.25,
        "device_celsius": 61,
        "device_read_age_seconds": 2,
    }.items():
        assert seen[f"tomaat_{name}", "here/GPU-a"] == value, name
    assert seen["tomaat_service_available", "FloatComputation"] == 1
    assert seen["tomaat_service_available", "GaussianSmoothing"] == 0
    assert (seen["tomaat_manager_held",], seen["tomaat_database_up",]) == (1, 1)
    assert 0 < seen["tomaat_storage_free_bytes",] <= seen["tomaat_storage_size_bytes",]
    assert seen["process_start_time_seconds",] > 0


def test_what_a_device_does_not_tell_is_not_there(web):
    web.watch.sources = [dataclasses.replace(GPU, celsius=None)]
    seen = scrape(web)
    assert ("tomaat_device_celsius", "here/GPU-a") not in seen
    assert ("tomaat_source_held", "here/GPU-a") in seen


def test_without_a_database_the_rest_is_still_told(web):
    web.store.down = True
    seen = scrape(web)
    assert seen["tomaat_database_up",] == 0
    assert ("tomaat_manager_held",) not in seen
    assert ("tomaat_storage_free_bytes",) in seen
    assert ("tomaat_refusals_total", "queue-full") in seen


def test_a_second_scrape_within_a_second_reads_nothing(web):
    web.metrics.world.recent.seconds = 60
    scrape(web)
    web.store.down = True
    assert scrape(web)["tomaat_database_up",] == 1


def test_a_silent_database_is_waited_for_once_at_a_scrape(web, monkeypatch):
    seconds = itertools.count(0, 5)  # pass at each look at the clock
    monkeypatch.setattr("tomaat.web.http.recent.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    asked = []
    monkeypatch.setattr(web.watch, "world", lambda: asked.append(next(seconds)) or web.store._demand())
    web.metrics.world.recent.seconds = 5
    web.store.down = True
    assert scrape(web)["tomaat_database_up",] == 0
    assert len(asked) == 1


def test_counters_begin_at_zero_for_each_offered_service_and_kind_of_problem(web):
    seen = scrape(web)
    for outcome in ("succeeded", "failed", "cancelled"):
        assert seen["tomaat_tickets_ended_total", "FloatComputation", outcome] == 0
    assert seen["tomaat_attempts_spent_total", "GaussianSmoothing"] == 0
    assert seen["tomaat_tickets_failed_total", "worker-died"] == 0
    assert seen["tomaat_ticket_wait_seconds_count", "FloatComputation"] == 0


def test_ended_tickets_are_counted_by_service_and_outcome(web):
    web.metrics.note_ended(ENDED)
    web.metrics.note_ended(dataclasses.replace(ENDED, outcome="failed", problem="/problems/task-crashed", attempts=0))
    web.metrics.note_ended(dataclasses.replace(ENDED, outcome="failed", problem="/problems/something-old"))
    web.metrics.note_ended(dataclasses.replace(ENDED, outcome="cancelled", wait_seconds=None, run_seconds=None))
    seen = scrape(web)
    assert seen["tomaat_tickets_ended_total", "FloatComputation", "succeeded"] == 1
    assert seen["tomaat_tickets_ended_total", "FloatComputation", "failed"] == 2
    assert seen["tomaat_tickets_ended_total", "FloatComputation", "cancelled"] == 1
    assert seen["tomaat_tickets_failed_total", "task-crashed"] == 1
    assert seen["tomaat_tickets_failed_total", "other"] == 1
    assert seen["tomaat_attempts_spent_total", "FloatComputation"] == 3
    assert seen["tomaat_ticket_wait_seconds_count", "FloatComputation"] == 3
    assert seen["tomaat_ticket_wait_seconds_sum", "FloatComputation"] == 21
    assert seen["tomaat_ticket_run_seconds_count", "FloatComputation"] == 1, (
        "only what succeeded tells how long it runs"
    )


def test_answers_are_counted_by_the_routes_template_and_refusals_by_their_kind(web):
    ticket = web.submit()
    web.client.get(ticket["links"]["status"])
    web.client.get("/status/1&wrong")
    web.client.open("/whatever/Doe", method="DOE")
    web.post(packed(main={"f1": "Doe"}))
    seen = scrape(web)
    requests = {labels[1:]: value for labels, value in seen.items() if labels[0] == "tomaat_requests_total"}
    assert requests[tuple(sorted(["/request", "POST", "202"]))] == 1
    assert requests[tuple(sorted(["/status/<path:reference>", "GET", "200"]))] == 1
    assert requests[tuple(sorted(["/status/<path:reference>", "GET", "404"]))] == 1
    assert requests[tuple(sorted(["(none)", "(other)", "404"]))] == 1
    assert seen["tomaat_refusals_total", "invalid-inputs"] == 1
    assert seen["tomaat_refusals_total", "not-found"] == 2


def test_no_label_holds_what_a_client_or_a_key_is_called(web):
    key = web.keys.make("radiology")
    ticket = web.post(headers={"X-API-Key": key}).get_json()
    web.client.get("/status/" + "secretsecret")
    web.client.get("/problems/Doe")
    web.post(service="Doe")
    text = web.client.get("/metrics").get_data(as_text=True)
    for secret in ("radiology", ticket["token"], "secretsecret", "Doe", f'"{ticket["id"]}"'):
        assert secret not in text, secret


def test_where_keys_are_needed_only_an_operator_sees_the_figures(tmp_path):
    web = Web(tmp_path, keys_needed=True)
    client, operator = web.keys.make("radiology"), web.keys.make("admin", operator=True)
    bearer = lambda key: {"Authorization": f"Bearer {key}"}  # noqa: E731 (a short name for a table)
    for headers, status, slug in (
        ({}, 401, "key-needed"),
        ({"X-API-Key": "wrong"}, 401, "key-needed"),
        (bearer("wrong"), 401, "key-needed"),
        ({"X-API-Key": client}, 403, "operator-needed"),
        (bearer(client), 403, "operator-needed"),
    ):
        answer = web.client.get("/metrics", headers=headers)
        assert (answer.status_code, answer.get_json()["type"]) == (status, f"/problems/{slug}"), headers
    scrape(web, **{"X-API-Key": operator})
    scrape(web, **bearer(operator))
    web.close()


def test_without_a_database_nobody_can_be_known_and_that_alone_is_told(tmp_path):
    web = Web(tmp_path, keys_needed=True)
    operator = web.keys.make("admin", operator=True)
    web.store.down = True
    assert scrape(web, **{"X-API-Key": operator}) == {("tomaat_database_up",): 0}
    assert web.client.get("/metrics").status_code == 401
    web.close()


def test_a_scrape_is_no_line_of_the_log_but_a_refused_one_is(tmp_path):
    web = Web(tmp_path, keys_needed=True)
    operator = web.keys.make("admin", operator=True)
    with structlog.testing.capture_logs() as lines:
        scrape(web, **{"X-API-Key": operator})
        web.client.get("/metrics")
    assert [(line["event"], line["status"]) for line in lines if line["log_level"] != "debug"] == [
        ("request.answered", 401)
    ]
    web.close()


@pytest.fixture
def processes(web, monkeypatch, tmp_path):
    """The metrics of one of several processes, by its number; a number's second one takes the place of the first."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "counts"))
    (tmp_path / "counts").mkdir()
    return lambda number: Metrics(web.watch, web.storage, web.api.access, process=number)


def figure(metrics, name, **labels):
    found = {each.get_sample_value(name, labels) for each in metrics}
    (value,) = found
    return value


def test_each_process_shows_the_counts_of_all_also_of_one_that_died(processes):
    first, second = processes(1), processes(2)
    for each in (first, second, second):
        each.note_refused(invalid("wrong"))
        each.note_ended(ENDED)
    shown = [first.registry, second.registry]
    assert figure(shown, "tomaat_refusals_total", problem="invalid-request") == 3
    assert figure(shown, "tomaat_ticket_wait_seconds_sum", service="FloatComputation") == 21
    assert figure(shown, "tomaat_ticket_wait_seconds_bucket", service="FloatComputation", le="10.0") == 3
    again = processes(2)
    again.note_refused(invalid("wrong"))
    assert figure([first.registry, again.registry], "tomaat_refusals_total", problem="invalid-request") == 4


def test_each_process_has_its_own_memory_and_start_among_the_figures(processes):
    first, second = processes(1), processes(2)
    first.own.look()
    second.own.look()
    for number in "12":
        assert figure([first.registry], "process_resident_memory_bytes", process=number) > 1024**2
        assert figure([second.registry], "process_start_time_seconds", process=number) > 0


def test_one_of_several_processes_counts_the_tickets_that_ended(processes, web, monkeypatch):
    looks = []
    monkeypatch.setattr(web.watch, "ended", lambda *_, **__: looks.append(1) or (1, []), raising=False)
    for number in (1, 2, 3):
        processes(number).look()
    assert looks == [1]


def test_a_full_disk_is_met_before_a_process_counts(processes, tmp_path):
    processes(2)
    for file in (tmp_path / "counts").iterdir():
        assert file.stat().st_blocks * 512 >= file.stat().st_size >= 1024**2, "none of its pages lacks room"
