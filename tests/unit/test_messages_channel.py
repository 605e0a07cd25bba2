import threading

import pytest

from tomaat.messages import (
    FROM_LANE,
    LARGEST_MESSAGE,
    Channel,
    ChannelClosed,
    Estimate,
    Forget,
    GiveUp,
    MessageRefused,
    Packed,
    Progress,
    ToEstimate,
)


@pytest.fixture
def ends():
    here, there = Channel.pair()
    other = Channel(there, FROM_LANE)
    yield here, other
    here.close()
    other.close()


def asked(count):
    return Estimate(tickets=(ToEstimate(ticket=1, service="Add", inputs="/" + "x" * 100),) * count)


def test_messages_arrive_whole_and_apart(ends):
    here, there = ends
    large = asked(1000)
    here.send(Forget())
    sender = threading.Thread(target=here.send, args=(large,))
    sender.start()
    assert there.receive() == Forget()
    assert len(there.receive().tickets) == 1000
    sender.join()


def test_a_message_that_cannot_arrive_whole_is_not_sent(ends):
    here, there = ends
    with pytest.raises(MessageRefused, match="longer than"):
        here.send(asked(LARGEST_MESSAGE // 100))
    here.send(Forget())
    assert there.receive() == Forget()


def test_progress_is_dropped_rather_than_waited_for(ends):
    _, there = ends
    for _ in range(10_000):
        there.send(Progress(key="1/1", fraction=0.5, stage="x" * 100), or_drop=True)


def test_each_end_hears_what_the_other_one_may_say_only(ends):
    here, there = ends
    here.send(Packed(key="1/1"))
    with pytest.raises(MessageRefused, match="known kind"):
        there.receive()
    there.send(GiveUp(key="1/1"))
    with pytest.raises(MessageRefused, match="known kind"):
        here.receive()


def test_the_other_ends_death_is_noticed(ends):
    here, there = ends
    there.end.close()
    with pytest.raises(ChannelClosed):
        here.receive()
    with pytest.raises(ChannelClosed):
        here.send(Forget())


def send_for_ever(channel):
    while True:
        channel.send(Forget())


def test_a_worker_that_reads_nothing_is_waited_for_no_longer_than_agreed(monkeypatch):
    monkeypatch.setattr("tomaat.messages.channel.SEND_SECONDS", 1)
    lane, there = Channel.pair()
    with there, pytest.raises(ChannelClosed):
        send_for_ever(lane)
    lane.close()
