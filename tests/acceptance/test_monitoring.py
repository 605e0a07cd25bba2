"""A real service as Prometheus and a load balancer see it; rules and documents are held against that."""

import re
import subprocess
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.needs import need
from tests.unit.test_documents import table
from tomaat.access.key_store import KeyStore
from tomaat.database import connect

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "deploy/prometheus/tomaat.rules.yml"
RULES_TEST = REPOSITORY / "deploy/prometheus/tomaat.rules.test.yml"
OF_PROMETHEUS = {"up"}  #: made by Prometheus itself


@pytest.fixture(scope="module")
def promtool():
    need("promtool")

    def run(*arguments, **how):
        return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, **how)

    return run


@pytest.fixture(scope="module")
def service(make_service):
    instance = make_service()
    instance.start()
    instance.wait_until_ready()
    return instance


@pytest.fixture(scope="module")
def text(service):
    """A scrape of a service that has run a ticket, and whose device was read."""
    ticket = service.submit("FloatComputation", {"f1": 1, "f2": 2})
    assert service.wait(ticket)["state"] == "succeeded"
    service.rows(
        """UPDATE compute_sources SET device_used_bytes = 1, device_total_bytes = 2, device_use = 0.5,
             device_celsius = 40, device_read = clock_timestamp() RETURNING name"""
    )
    service.until(lambda: 'outcome="succeeded",service="FloatComputation"} 1.0' in scrape(service), 30)
    return scrape(service)


def scrape(instance, **headers):
    answer = requests.get(f"{instance.url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.text


def samples(text):
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def families(text):
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


def test_promtool_accepts_the_metrics(promtool, text):
    done = promtool("check", "metrics", input=text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_promtool_accepts_the_rules(promtool):
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_where_it_should_and_is_silent_where_all_is_well(promtool):
    done = promtool("test", "rules", str(RULES_TEST))
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    tests = RULES_TEST.read_text()
    assert alerts == set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels", tests))
    assert alerts == set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", tests.split("  - name:")[1])), (
        "each is silent"
    )


def test_each_metric_of_a_rule_is_in_a_real_scrape(text):
    named = set(re.findall(r"\b((?:tomaat|process)_[a-z_]+)\b", " ".join(expressions())))
    assert len(named) > 15
    without_a_sample_here = {"tomaat_device_celsius"}  # of a CPU, which tells no temperature
    assert named - without_a_sample_here <= samples(text)
    assert without_a_sample_here <= families(text)


def expressions():
    """The rules' expressions, as they are written."""
    return re.findall(r"expr: (.*?)\n        (?:for|labels):", RULES.read_text(), re.DOTALL)


def test_each_metric_is_documented_and_each_documented_one_is_there(text):
    documented = {row[0].strip("`").partition("{")[0] for row in table("docs/monitoring.md", "Metrics")}
    ours = {name for name in families(text) if name.startswith("tomaat_") and not name.endswith("_created")}
    assert documented == ours


def test_each_alert_is_documented():
    documented = {row[0].strip("`") for row in table("docs/monitoring.md", "Alerts")}
    assert documented == set(re.findall(r"alert: (\w+)", RULES.read_text()))


def test_the_documented_scrape_is_one_that_promtool_accepts(promtool, tmp_path):
    document = (REPOSITORY / "docs/monitoring.md").read_text()
    written = re.search(r"```yaml\n(.*?)```", document, re.DOTALL).group(1)
    (tmp_path / "tomaat.rules.yml").write_text(RULES.read_text())
    (tmp_path / "tomaat.key").write_text("tomaat_x")
    configuration = written.replace("/etc/prometheus/", f"{tmp_path}/")
    (tmp_path / "prometheus.yml").write_text(configuration)
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_manager_the_service_is_alive_and_not_ready(service):
    def ready():
        return requests.get(f"{service.url}/health/ready", timeout=10)

    assert ready().status_code == 200
    service.kill("QueueManager.py")
    service.until(lambda: ready().status_code == 503, 90)
    assert [error["code"] for error in ready().json()["errors"]] == ["manager"]
    assert requests.get(f"{service.url}/health/live", timeout=10).status_code == 200
    assert "tomaat_manager_held 0.0" in scrape(service)
    service.start("QueueManager.py")
    service.until(lambda: ready().status_code == 200, 90)
    lines = [line for line in service.log("WebService.py").splitlines() if "health" in line]
    assert len(lines) == 2, "two changes, and no line for each probe"


def test_where_keys_are_needed_prometheus_shows_an_operators(own_service):
    instance = own_service(API_KEYS="always")
    instance.start("QueueManager.py")  # it makes the schema
    instance.until(lambda: "manager.took_over" in instance.log("QueueManager.py"))
    database = connect(instance.database_url, deadline_seconds=10)
    client, operator = (KeyStore(database).make(name, None, operator=name == "admin") for name in ("client", "admin"))
    database.dispose()
    instance.start("WebService.py")
    instance.until(lambda: requests.get(f"{instance.url}/health/live", timeout=5).status_code == 200)
    assert requests.get(f"{instance.url}/metrics", timeout=5).status_code == 401
    answer = requests.get(f"{instance.url}/metrics", headers={"Authorization": f"Bearer {client}"}, timeout=5)
    assert answer.status_code == 403
    assert "tomaat_build_info" in scrape(instance, Authorization=f"Bearer {operator}")
    assert operator not in instance.log("WebService.py")
