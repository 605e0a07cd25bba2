"""Documents and code say the same."""

import re
from pathlib import Path

import pytest

from tests.chaos import matrix
from tomaat.client import EXIT_CODES
from tomaat.client.completion import option_actions
from tomaat.client.parser import FORMATS, make_parser
from tomaat.services import payload
from tomaat.tickets import states
from tomaat.tickets.problems import KINDS_OF_FAILURE
from tomaat.web.http.openapi import KINDS
from tomaat.web.http.problems import EXPLANATIONS
from TOMAATSettings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
LARGEST_PICTURE_BYTES = 300_000
DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]


def table(document: str, heading: str) -> list[list[str]]:
    """Read the rows of the table below a heading."""
    text = (REPOSITORY / document).read_text()
    section = text[text.index(f"## {heading}\n") :].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_every_setting_stands_in_the_readme_with_its_meaning():
    rows = {row[0].strip("`"): row for row in table("README.md", "Settings")}
    assert rows.keys() == {f"TOMAAT_{name}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        assert rows[f"TOMAAT_{name}"][2] == field.description


def test_the_states_in_the_documents_are_the_codes():
    source = (REPOSITORY / "tomaat/tickets/states.py").read_text()
    explained = dict(re.findall(r'^[A-Z]+ = "(\w+)"  #: (.+)$', source, re.MULTILINE))
    assert {row[0].strip("`"): row[1] for row in table("docs/ticket.md", "States")} == explained
    assert set(explained) == set(states.STATES)


def test_the_moves_in_the_documents_are_the_codes():
    written = table("docs/ticket.md", "Moves")
    assert written == [[move.before or "", move.after, move.door, move.when] for move in states.MOVES]


def test_the_clients_exit_codes_in_the_documents_are_the_codes():
    assert {int(code): text for code, text in table("docs/client.md", "Exit codes")} == EXIT_CODES


def test_every_command_and_option_in_the_clients_document_is_one():
    commands = next(action for action in make_parser()._actions if action.dest == "command").choices
    options = {name: set(option_actions(parser)) for name, parser in commands.items()}
    named = {}
    for call, _ in table("docs/client.md", "Commands")[: len(commands)]:
        words = call.strip("`").split()
        named[words[1]] = set(re.findall(r"(?<=[ \[])--?[a-z][a-z-]*", call))
    assert named.keys() == options.keys()
    assert all(named[name] <= options[name] for name in named)
    others = {row[0].strip("`").split()[0] for row in table("docs/client.md", "Commands")[len(commands) + 2 :]}
    assert others <= options["run"]


def test_the_client_names_the_formats_that_the_service_takes():
    assert FORMATS == payload.FORMATS


def test_the_fault_matrix_in_the_documents_is_the_one_that_is_tried():
    assert matrix.table() in (REPOSITORY / "docs/faults.md").read_text()


def test_every_problem_that_the_code_answers_with_is_explained():
    code = "".join(path.read_text() for path in (REPOSITORY / "tomaat").rglob("*.py"))
    used = set(re.findall(r'(?:Problem|retry_later)\(\s*\d{3}, "([a-z-]+)"', code))
    used |= set(re.findall(r'\bproblem\(\s*"([a-z-]+)"', code))
    assert used <= EXPLANATIONS.keys()


def test_every_reason_why_tickets_fail_is_counted_by_its_name():
    code = "".join(path.read_text() for path in (REPOSITORY / "tomaat").rglob("*.py"))
    assert set(re.findall(r'\bproblem\(\s*"([a-z-]+)"', code)) == set(KINDS_OF_FAILURE)


def test_every_kind_of_problem_stands_in_the_apis_description_with_its_status():
    answered_anywhere = {"method-not-allowed"}
    described = {kind for kinds in KINDS.values() for kind in kinds}
    assert described | answered_anywhere == EXPLANATIONS.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_of_a_document_is_broken(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_command_of_the_readme_is_a_target_or_a_program():
    readme = (REPOSITORY / "README.md").read_text()
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for program in re.findall(r"^python3 (\S+\.py)$", readme, re.MULTILINE):
        assert (REPOSITORY / program).exists(), program
    for file in re.findall(r"examples/[\w.-]+", readme):
        assert (REPOSITORY / file).exists(), file


def test_the_task_in_the_readme_is_one(tmp_path):
    from tomaat.services.find import find_tasks  # noqa: PLC0415 (imports numpy)

    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL).group(1)
    (tmp_path / "BrightTissueTask.py").write_text(code)
    found = find_tasks(tmp_path)
    assert found.problems == []
    assert list(found.tasks) == ["BrightTissue"]


def test_every_picture_of_the_documents_is_small_and_taken_by_the_tutorial_in_a_browser():
    kept = {path.stem for path in (REPOSITORY / "docs/pictures").iterdir()}
    tutorial = (REPOSITORY / "docs/first-browser.md").read_text()
    assert kept == set(re.findall(r"\]\(pictures/(.+)\.png\)", tutorial))
    for path in (REPOSITORY / "docs/pictures").iterdir():
        assert path.stat().st_size < LARGEST_PICTURE_BYTES, path


def test_every_decision_stands_in_their_list():
    decisions = REPOSITORY / "docs/decisions"
    listed = re.findall(r"^- \[(\d+)\. (.+)\]\((.+)\)$", (decisions / "README.md").read_text(), re.MULTILINE)
    assert [name for _, _, name in listed] == sorted(path.name for path in decisions.glob("0*.md"))
    for number, title, name in listed:
        assert (decisions / name).read_text().startswith(f"# {number}. {title}\n")
