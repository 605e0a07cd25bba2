import threading

import pytest

from tomaat.messages.channel import LARGEST_MESSAGE, Channel, ChannelClosed


@pytest.fixture
def ends():
    here, there = Channel.pair()
    other = Channel(there)
    yield here, other
    here.close()
    other.close()


def test_messages_arrive_whole_and_apart(ends):
    here, there = ends
    large = {"offer": "x" * (LARGEST_MESSAGE - 100)}
    here.send({"is": "first"})
    sender = threading.Thread(target=here.send, args=(large,))
    sender.start()
    assert there.receive() == {"is": "first"}
    assert there.receive() == large
    sender.join()


def test_a_message_that_cannot_arrive_whole_is_not_sent(ends):
    here, there = ends
    with pytest.raises(ValueError, match="longer than"):
        here.send({"offer": "x" * LARGEST_MESSAGE})
    here.send({"is": "next"})
    assert there.receive() == {"is": "next"}


def test_progress_is_dropped_rather_than_waited_for(ends):
    here, _ = ends
    for _ in range(10_000):
        here.send({"is": "progress", "stage": "x" * 100}, or_drop=True)


def test_the_other_ends_death_is_noticed(ends):
    here, there = ends
    there.end.close()
    with pytest.raises(ChannelClosed):
        here.receive()
    with pytest.raises(ChannelClosed):
        here.send({"is": "late"})
