"""An operator's word, at the command line."""

import os
import subprocess
import sys

import pytest
import sqlalchemy

from tests.service import REPOSITORY
from tomaat.tickets.question_store import CLOCK, QUARANTINE, QuestionStore


@pytest.fixture
def command(database, database_url):
    """Call the command on a migrated database."""

    def call(*words, url=database_url):
        return subprocess.run(
            [sys.executable, "-m", "tomaat.manager", *words],
            cwd=REPOSITORY,
            env=os.environ | {"TOMAAT_DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def questions(database):
    return QuestionStore(database, lambda _: None)


def test_an_operator_sees_what_is_asked_and_agrees_once(command, questions):
    questions.ask(CLOCK, "the database's clock was set: 3600 s", 3600)
    listed = command("questions")
    assert "clock: the database's clock was set: 3600 s, asked" in listed.stdout
    assert "agreed" in command("agree", "clock").stdout
    assert questions.take_agreement(CLOCK)
    assert not questions.take_agreement(CLOCK), "it counts once"
    assert command("questions").stdout == ""


def test_nobody_agrees_to_what_is_not_asked(command, questions):
    questions.ask(CLOCK, "the database's clock was set: 3600 s", 3600)
    refused = command("agree", "quarantine")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Nothing is asked about the quarantine" in refused.stderr


def test_asking_for_less_keeps_an_agreement_and_asking_for_more_does_not(questions):
    for amount, kept in ((10, True), (9, True), (11, False)):
        questions.withdraw(QUARANTINE)
        questions.ask(QUARANTINE, "10 folders", 10)
        questions.agree(QUARANTINE)
        questions.ask(QUARANTINE, f"{amount} folders", amount)
        assert (questions.all()[0].agreed is not None) == kept


def test_without_a_database_the_command_says_so(command, database_url):
    nobodys = sqlalchemy.make_url(database_url).set(database="nobodys").render_as_string(hide_password=False)
    answer = command("questions", url=nobodys)
    assert answer.returncode == 1
    assert "does not exist" in answer.stderr
