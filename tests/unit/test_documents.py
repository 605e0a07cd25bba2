"""Documents and code say the same."""

import ast
import doctest
import inspect
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import Inputs
from Inputs.numbers import finite
from tests.chaos import matrix
from tests.needs import need
from tests.sentences import begins_relatively, count_words, sentences
from tomaat.client import EXIT_CODES
from tomaat.client.completion import option_actions
from tomaat.client.parser import FORMATS, make_parser
from tomaat.services import payload
from tomaat.tickets import states
from tomaat.tickets.problems import KINDS_OF_FAILURE
from tomaat.web.http.openapi import KINDS
from tomaat.web.http.problems import EXPLANATIONS
from TOMAATSettings import GROUPS, Settings
from tools.site_parts import fill_parts, write_settings

REPOSITORY = Path(__file__).resolve().parents[2]
DOORS = ("QueueManager.py", "TaskScheduling.py", "WebService.py")
LARGEST_PICTURE_BYTES = 300_000
DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
MOST_WORDS = 25  #: of a sentence that explains
#: Programs write most of the evidence; decisions and changes are read by those who know the words.
EXPLAINING = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]
EXPLAINING += (REPOSITORY / "networks").rglob("README.md")


def table(document: str, heading: str) -> list[list[str]]:
    """Read the rows of the table below a heading."""
    text = (REPOSITORY / document).read_text()
    section = text[text.index(f"## {heading}\n") :].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_every_setting_stands_in_the_readme_in_its_group_with_its_default_and_its_meaning():
    readme = (REPOSITORY / "README.md").read_text()
    assert fill_parts(readme) == readme, "python -m tools.site_parts writes the tables anew"


def test_the_settings_are_grouped_in_the_order_of_their_fields_and_six_come_first():
    fields = list(Settings.model_fields)
    begins = [fields.index(name) for name in GROUPS]
    assert begins == sorted(begins)
    assert begins[0] == 0
    assert next(iter(GROUPS.values())).startswith("The six")
    assert begins[1] == 6
    written = write_settings()
    assert [written.count(f"`TOMAAT_{name}` |") for name in fields] == [1] * len(fields)
    assert re.findall(r"^### (.+)$", written, re.MULTILINE) == list(GROUPS.values())


def test_every_part_from_elsewhere_is_named_with_its_licence():
    readme = (REPOSITORY / "README.md").read_text()
    licences = readme[readme.index("## Licence\n") :]
    for part in (REPOSITORY / "tomaat/web/page/static/vendor").iterdir():
        assert f"({(part / 'LICENSE').relative_to(REPOSITORY)})" in licences, part
    assert (REPOSITORY / "LICENSE").read_text().strip().startswith("Apache License\n")
    assert 'license = "Apache-2.0"\n' in (REPOSITORY / "pyproject.toml").read_text()


def test_the_states_in_the_documents_are_the_codes():
    source = (REPOSITORY / "tomaat/tickets/states.py").read_text()
    explained = dict(re.findall(r'^[A-Z]+ = "(\w+)"  #: (.+)$', source, re.MULTILINE))
    assert {row[0].strip("`"): row[1] for row in table("docs/ticket.md", "States")} == explained
    assert set(explained) == set(states.STATES)


def test_the_moves_in_the_documents_are_the_codes():
    written = table("docs/ticket.md", "Moves")
    assert written == [[move.before or "", move.after, move.door, move.when] for move in states.MOVES]


def test_every_function_on_a_tickets_way_is_in_the_file_that_the_document_names():
    rows = table("docs/ticket.md", "In the code")
    steps = re.findall(r"^(\d\. )(?:\*\*)?The (\w+)", (REPOSITORY / "docs/ticket.md").read_text(), re.MULTILINE)
    assert list(dict.fromkeys(row[0] for row in rows)) == [number + step for number, step in steps]
    for _, function, file in rows:
        place: ast.Module | ast.ClassDef = ast.parse((REPOSITORY / file.strip("`")).read_text())
        for name in function.strip("`").split("."):
            places = [node for node in place.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
            found = [node for node in places if node.name == name]
            assert found, f"{file} has no {function}"
            place = found[0]


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
    assert matrix.table() in (REPOSITORY / "docs/evidence/faults.md").read_text()


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
    code = "".join(path.read_text() for path in (REPOSITORY / "tomaat/web").rglob("*.py"))
    for status, kind in re.findall(r'(?:Problem|retry_later)\(\s*(\d{3}), "([a-z-]+)"', code):
        assert kind in KINDS.get(int(status), answered_anywhere), (status, kind)


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
    programs = re.findall(r"^\.venv/bin/python (\S+\.py)$", readme, re.MULTILINE)
    assert sorted(programs) == sorted(DOORS)
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    for program in programs:
        assert (REPOSITORY / program).exists(), program
        assert f".venv/bin/python {program}\n" in blocks, "a door does not return: nothing can be typed after it"
    for file in re.findall(r"examples/[\w.-]+", readme):
        assert (REPOSITORY / file).exists(), file


def test_what_the_commands_of_the_readme_leave_in_the_clone_is_not_offered_to_git(tmp_path):
    need("git")
    readme = (REPOSITORY / "README.md").read_text()
    left = set(re.findall(r" -o (\S+)", readme)) | set(re.findall(r"-m venv (\S+)", readme)) | {"BrightTissue-result"}
    assert left >= {"result.tar.gz", "out", "cohort", "client"}
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    for name in left - {"result.tar.gz"}:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "result.tar.gz").touch()
    (tmp_path / "tomaat/client").mkdir(parents=True)
    (tmp_path / "tomaat/client/client.py").touch()
    command = ["git", "ls-files", "-o", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert listed == [".gitignore", "tomaat/client/client.py"]


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


@pytest.mark.parametrize("document", EXPLAINING, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_sentence_of_a_document_is_long_or_begins_with_a_relative_word(document):
    found = list(sentences(document.read_text()))
    assert [sentence for sentence in found if count_words(sentence) > MOST_WORDS] == []
    assert [sentence for sentence in found if begins_relatively(sentence)] == []


def test_a_long_sentence_and_a_relative_beginning_are_found_wherever_they_stand():
    long = "A" + " word" * MOST_WORDS + "."
    for place in ("{}", "Short. {}", "- {}", "| a | b |\n| --- | --- |\n| short | {} |", "# {}", "1. *{}*"):
        assert max(map(count_words, sentences(place.format(long)))) == MOST_WORDS + 1, place
        for relative in ("What is kept goes.", "Of these, two.", "Who asks is told.", "**What it costs**"):
            assert any(map(begins_relatively, sentences(place.format(relative)))), place
    assert not any(map(begins_relatively, sentences("Who may send? Whatever. The rest of it. `what`")))
    assert list(sentences("```\n" + long + "\n```\n\n<!-- What is this -->\n")) == []


def test_every_input_has_a_section_with_its_arguments_its_refusals_and_examples_that_run(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    document = (REPOSITORY / "docs/inputs.md").read_text()
    scope: dict[str, object] = {}
    runner = doctest.DocTestRunner()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", document, re.DOTALL)):
        example = doctest.DocTestParser().get_doctest(block, {}, f"example {number}", "docs/inputs.md", 0)
        example.globs = scope
        runner.run(example, clear_globs=False)
    assert runner.tries > 30
    assert runner.failures == 0
    declared = {one.id: one for one in scope.values() if isinstance(one, Inputs.Input)}
    common = set(inspect.signature(Inputs.Input).parameters)
    for kind in Inputs.TYPES.values():
        section = document[document.index(f"\n## {kind.__name__}\n") :].partition("\n## ")[2].partition("\n## ")[0]
        for argument in inspect.signature(kind).parameters.keys() - common - {"default"}:
            assert re.search(rf"^\| [^|]*`{argument}`", section, re.MULTILINE), (kind, argument)
        for code in refusals_of(kind):
            assert re.search(rf"^\| [^|]*`{code}`", section, re.MULTILINE), (kind, code)
        for example in re.findall(r"```json\n(.*?)```", section, re.DOTALL):
            for id, value in json.loads(example)["inputs"].items():
                assert type(declared[id]) is kind
                declared[id].check(value)
        assert f"| `{kind.type}` |" in document


def test_every_claim_about_patients_data_names_tests_that_there_are():
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs/privacy.md").read_text()))
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert named <= set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))


def refusals_of(kind: type) -> set[str]:
    """Find the codes in the source of a kind of input, and of the helpers that it has for numbers."""
    source = "".join(inspect.getsource(one) for one in kind.__mro__ if one.__module__.startswith("Inputs."))
    if "finite(" in source:
        source += inspect.getsource(finite)
    return set(re.findall(r'(?:refuse|Refused)\(\s*"([a-z-]+)"', source))
