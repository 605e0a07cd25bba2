"""What a lane does while its worker loads: at its start, and on purpose."""

from tests.integration.played_lane import SECONDS, SOURCE, two_under_way
from tomaat.messages import (
    Begin,
    DeviceBroken,
    Loaded,
    Loading,
    NotOffered,
    Perform,
    Performed,
    Performing,
    ReadAhead,
    Reload,
    Reloaded,
    WorkerReady,
)
from tomaat.tickets.problems import loading_too_long
from tomaat.tickets.reload_store import ReloadOutcome


def test_a_service_is_offered_and_its_tickets_run_while_others_are_loaded(play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    play.bench.run("DELETE FROM offers")
    loading = lambda: [name for _, name, _ in play.bench.watch.loading()]  # noqa: E731
    play.until(lambda: loading() == ["its tasks"])
    worker.channel.send(Loading(name="Liver"))
    play.until(lambda: loading() == ["Liver"])
    worker.offer("Add")
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    play.until(lambda: [each["service"] for each in play.bench.sources.offers_of(SOURCE)] == ["Add"])
    worker.say(Performed, one)
    worker.pack(one)
    play.until_state(first, "succeeded")
    worker.channel.send(Loaded())
    worker.channel.send(WorkerReady())
    play.until(lambda: loading() == [])


def test_a_service_that_the_new_worker_does_not_offer_is_withdrawn_once_all_are_loaded(play):
    play.offering = {"services": ("Blur",), "ready": False}
    play.bench.offer(play.store.lease, "Add")
    worker = play.begin()
    offered = lambda: [each["service"] for each in play.bench.sources.offers_of(SOURCE)]  # noqa: E731
    play.until(lambda: offered() == ["Add", "Blur"])
    for _ in range(2):  # a look that has begun, and a whole one
        looked = play.lane.looked_at
        play.until(lambda looked=looked: play.lane.looked_at > looked)
    assert offered() == ["Add", "Blur"]
    worker.channel.send(WorkerReady())
    play.until(lambda: offered() == ["Blur"])


def load_too_long(play):
    """Let the present loading have passed its deadline."""
    play.until(lambda: play.lane.keeper.offering.loading is not None)
    play.lane.keeper.offering.loading_since -= 1e6
    play.lane.wake()


def test_a_network_that_loads_too_long_is_left_out_and_the_others_serve(capfd, play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    worker.channel.send(Loading(name="Liver", deadline_seconds=30.0))
    play.offering = {}
    load_too_long(play)
    after = play.workers.get(timeout=SECONDS)
    assert after.hear(Begin).without == ("Liver",)
    (first,) = play.queue(1)
    one = after.hear(Perform)
    after.say(Performed, one)
    after.pack(one)
    play.until_state(first, "succeeded")
    assert worker.is_ended()
    assert "it was not loaded within 30 s" in capfd.readouterr().out


def test_a_ticket_waits_for_no_network_longer_than_its_deadline_and_a_neighbour_is_put_back(play):
    worker = play.begin()
    (first, _one), (second, two) = two_under_way(play, worker)
    worker.say(Performing, two)
    worker.channel.send(Loading(name="Add"))
    load_too_long(play)
    play.until_state(second, "failed")
    assert play.row(second).error == loading_too_long("Add", 600.0)
    assert (play.row(first).state, play.row(first).attempts) == ("submitted", 0)


def test_only_what_ends_two_workers_while_it_loads_is_left_out(play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    for without in ((), ("Liver",)):
        worker.channel.send(Loading(name="Liver"))
        play.until(lambda: play.lane.keeper.offering.loading is not None)
        worker.die()
        worker = play.workers.get(timeout=SECONDS)
        assert worker.hear(Begin).without == without


def test_a_network_that_breaks_the_device_of_two_workers_while_it_loads_is_left_out(play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    for without in ((), ("Liver",)):
        for message in (
            Loading(name="Liver"),
            Loaded(),
            NotOffered(reason="Liver: load() failed"),
            Loading(name="Liver"),
        ):
            worker.channel.send(message)
        worker.channel.send(DeviceBroken(reason="CUDA error: device-side assert triggered"))
        worker = play.workers.get(timeout=SECONDS)
        assert worker.hear(Begin).without == without


def test_a_ticket_is_not_to_blame_for_a_worker_that_dies_while_another_network_loads(play):
    play.offering = {"ready": False}
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear(Perform)
    worker.channel.send(Loading(name="Liver"))
    worker.die()
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 0


# Loading on purpose


def ask_to_reload(play, service=None):
    (asked,) = play.reloads.ask(service)
    play.lane.reload(asked)
    return asked.id


def outcome(play, id):
    play.until(lambda: play.reloads.outcomes([id]))
    return play.reloads.outcomes([id])[id]


def test_a_file_that_has_changed_is_loaded_only_when_it_is_asked_for(play):
    worker = play.begin()
    (play.tasks / "AddTask.py").write_text("2")
    worker.die()
    worker = play.workers.get(timeout=SECONDS)
    assert play.copies == ["1", "1"]
    play.until(lambda: play.lane.keeper.offering.complete)
    id = ask_to_reload(play)
    told = worker.hear(Reload)
    assert (told.files, (told.copy / "AddTask.py").read_text()) == (("AddTask.py",), "2")
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    assert outcome(play, id) == ReloadOutcome(failed=False, says="offered are Add")
    worker.die()
    play.workers.get(timeout=SECONDS)
    assert play.copies == ["1", "1", "2"]


def test_a_file_that_failed_stays_as_it_was_and_the_reason_is_told(play):
    worker = play.begin()
    (play.tasks / "AddTask.py").write_text("2")
    play.until(lambda: play.lane.keeper.offering.complete)
    id = ask_to_reload(play)
    worker.hear(Reload)
    worker.channel.send(NotOffered(reason="Add: load() failed: OSError: no weights"))
    worker.channel.send(Reloaded(services=("Add",), refused=("AddTask.py",)))
    assert outcome(play, id).failed
    assert outcome(play, id).says == "Add: load() failed: OSError: no weights; the former tasks serve"
    worker.die()
    play.workers.get(timeout=SECONDS)
    assert play.copies == ["1", "1"]


def test_a_worker_that_dies_while_it_loads_on_purpose_is_followed_by_one_with_the_former_tasks(play):
    worker = play.begin()
    (play.tasks / "AddTask.py").write_text("2")
    play.until(lambda: play.lane.keeper.offering.complete)
    for _ in range(3):
        id = ask_to_reload(play)
        worker.hear(Reload)
        worker.channel.send(Loading(name="Add"))
        play.until(lambda: play.lane.keeper.offering.loading is not None)
        worker.die()
        assert outcome(play, id).says == "the worker ended while it loaded; the former tasks serve"
        worker = play.workers.get(timeout=SECONDS)
        play.until(lambda: play.lane.keeper.offering.complete)
    assert set(play.copies) == {"1"}
    assert not worker.without, "the former version is not left out"


def test_a_ticket_waits_for_what_is_loaded_on_purpose_and_a_running_one_is_not_disturbed(play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    (play.tasks / "AddTask.py").write_text("2")
    ask_to_reload(play)
    play.until_looked(worker, one)
    assert worker.heard() == []
    worker.say(Performed, one)
    worker.hear(Reload)
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert play.row(second).state == "queued"
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    heard = []
    play.until(lambda: heard.extend(worker.heard()) or [each for each in heard if isinstance(each, Perform)])
    assert heard[-1].key == f"{second.id}/1"


def test_a_service_that_the_changed_files_no_longer_hold_is_withdrawn(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.offering.complete)
    (play.tasks / "AddTask.py").unlink()
    id = ask_to_reload(play)
    assert not (worker.hear(Reload).copy / "AddTask.py").exists()
    worker.channel.send(Reloaded(services=(), refused=()))
    assert not outcome(play, id).failed
    play.until(lambda: play.bench.sources.offers_of(SOURCE) == [])


def test_a_service_is_loaded_anew_by_its_name_even_if_its_file_has_not_changed(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.offering.complete)
    assert outcome(play, ask_to_reload(play)).says == "nothing has changed"
    (play.tasks / "BlurTask.py").write_text("1")
    ask_to_reload(play, "Add")
    assert worker.hear(Reload).files == ("AddTask.py",)


def test_a_service_that_was_left_out_is_loaded_when_it_is_asked_for(play):
    (play.tasks / "LiverTask.py").write_text("1")
    play.kept.take(play.kept.renewed({"LiverTask.py"}), ())
    worker = play.begin()
    play.until(lambda: play.lane.keeper.offering.complete)
    play.lane.keeper.leave_out("Liver", "it was not loaded within 30 s")
    ask_to_reload(play, "Liver")
    assert worker.hear(Reload).files == ("LiverTask.py",)
    assert "Liver" not in play.lane.keeper.suspects.left_out


def test_what_was_left_out_and_has_been_loaded_anew_is_left_out_no_longer(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.offering.complete)
    play.lane.keeper.leave_out("Add", "it was not loaded within 30 s")
    (play.tasks / "AddTask.py").write_text("2")
    id = ask_to_reload(play)
    worker.hear(Reload)
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    assert not outcome(play, id).failed
    assert "Add" not in play.lane.keeper.suspects.left_out


def test_files_that_cannot_be_copied_are_told_and_cost_no_worker(play, monkeypatch):
    def renewed(_names):
        raise OSError(28, "No space left on device")

    worker = play.begin()
    play.until(lambda: play.lane.keeper.offering.complete)
    (play.tasks / "AddTask.py").write_text("2")
    monkeypatch.setattr(play.kept, "renewed", renewed)
    assert outcome(play, ask_to_reload(play)) == ReloadOutcome(
        failed=True,
        says="the files cannot be copied ([Errno 28] No space left on device); the former tasks serve",
    )
    assert play.lane.keeper.worker.pid == worker.process.pid


def test_a_service_that_no_file_offers_is_told(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.offering.complete)
    (play.tasks / "BlurTask.py").write_text("1")
    id = ask_to_reload(play, "Cut")
    worker.hear(Reload)
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    assert outcome(play, id) == ReloadOutcome(failed=True, says="no file in the folder of tasks offers Cut")


def test_a_ticket_that_was_in_a_worker_that_ended_while_it_loaded_waits_until_nothing_loads(play):
    play.offering = {"ready": False}
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear(Perform)
    worker.channel.send(Loading(name="Liver"))
    play.until(lambda: play.lane.keeper.offering.loading is not None)
    worker.die()
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 0, "the loading may have been the cause"
    play.bench.queue(first, SOURCE)
    after = play.workers.get(timeout=SECONDS)
    play.until(lambda: play.lane.keeper.offering.offers)
    for _ in range(10):
        play.lane.wake()
        assert play.row(first).state == "queued"
    after.channel.send(WorkerReady())
    assert after.hear(Perform).key == f"{first.id}/2"


def test_a_ticket_that_runs_again_does_not_wait_for_loadings_that_are_under_no_suspicion(play):
    play.offering = {"ready": False}
    worker = play.begin()
    (first,) = play.queue(1, claim=1)
    assert worker.hear(Perform).key == f"{first.id}/2"
