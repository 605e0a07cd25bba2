import pytest

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.supervisor import Supervisor
from tomaat.postgres.account import PrivatePostgresFailed


class Standin:
    def __init__(self, name, diary):
        self.name = name
        self.diary = diary
        self.running = False
        self.failure = None

    def start(self):
        self.diary.append(f"start {self.name}")
        if self.failure is not None:
            raise self.failure
        self.running = True

    def alive(self):
        return self.running

    def stop(self):
        self.diary.append(f"stop {self.name}")
        self.running = False


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def diary():
    return []


@pytest.fixture
def programs(diary):
    return [Standin(name, diary) for name in ("postgres", "manager", "web")]


def test_programs_start_in_their_order_and_stop_the_other_way_round(programs, diary, clock):
    supervisor = Supervisor(programs, clock)
    supervisor.tend()
    supervisor.tend()
    supervisor.stop()
    assert diary == ["start postgres", "start manager", "start web", "stop web", "stop manager", "stop postgres"]


def test_a_program_that_dies_is_started_again_and_the_others_are_left_alone(programs, diary, clock):
    supervisor = Supervisor(programs, clock)
    supervisor.tend()
    diary.clear()
    programs[1].running = False
    supervisor.tend()
    clock.now += 1
    supervisor.tend()
    assert diary == ["start manager"]
    assert programs[1].running


def test_what_dies_again_and_again_is_started_ever_more_seldom(programs, diary, clock):
    supervisor = Supervisor(programs, clock)
    for _ in range(10 * 600):
        supervisor.tend()
        programs[2].running = False
        clock.now += 0.1
    assert 20 <= diary.count("start web") <= 28  # 1 + 7 while the pause doubles to 30 s, then two a minute


def test_a_program_that_ran_for_long_is_started_again_quickly(programs, diary, clock):
    supervisor = Supervisor(programs, clock)
    supervisor.tend()
    for _ in range(8):
        programs[2].running = False
        supervisor.tend()
        clock.now += 31
        supervisor.tend()
    clock.now += 61
    programs[2].running = False
    supervisor.tend()
    diary.clear()
    clock.now += 0.6
    supervisor.tend()
    assert diary == ["start web"]


def test_a_program_that_runs_already_is_not_started(programs, diary, clock):
    programs[0].running = True
    supervisor = Supervisor(programs, clock)
    supervisor.tend()
    assert diary == ["start manager", "start web"]
    programs[0].running = False
    supervisor.tend()
    assert diary == ["start manager", "start web"]  # it died: it has its pause too
    clock.now += 1
    supervisor.tend()
    assert diary[-1] == "start postgres"


def test_a_first_start_that_fails_is_said_at_once(programs, diary, clock):
    programs[0].failure = PrivatePostgresFailed("no programs")
    with pytest.raises(PrivatePostgresFailed, match="no programs"):
        Supervisor(programs, clock).tend()


def test_a_later_start_that_fails_is_tried_again(programs, diary, clock):
    supervisor = Supervisor(programs, clock)
    supervisor.tend()
    programs[0].running = False
    programs[0].failure = PrivatePostgresFailed("the disk is full")
    for _ in range(20):
        supervisor.tend()
        clock.now += 1
    assert diary.count("start postgres") > 2
    programs[0].failure = None
    clock.now += 60
    supervisor.tend()
    assert programs[0].running


def test_a_door_that_never_will_run_ends_it_all(programs, diary, clock):
    def misconfigured():
        raise CannotStart("WebService cannot run as it is set up")

    programs[2].alive = misconfigured
    with pytest.raises(CannotStart):
        Supervisor(programs, clock).tend()
