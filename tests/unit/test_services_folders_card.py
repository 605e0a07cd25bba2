"""Cards: each fault with its line, the value and the rule; all of them at once."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tomaat.services.folders.card import Card
from tomaat.services.folders.card_reading import CARD, PARTS, read_card
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.intensity import scaled
from tomaat.services.folders.tiles import starts_along, tiles

LEAST = """description: Marks the liver.
inputs:
  - id: scan
orientation: RAS
output: {kind: softmax}
labels:
  1: liver
"""


#: Each line holds the one before eight times: written out, it would fill any memory.
MANY = b"a: &a [1]\n" + b"".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n".encode() for before, name in pairwise("abcdefghijklmnop")
)


@pytest.fixture
def faults(tmp_path):
    """Tell the faults of a card, without the name of its file."""

    def tell(text):
        (tmp_path / CARD).write_text(text)
        with pytest.raises(FolderRefused) as refused:
            read_card(tmp_path)
        return str(refused.value).replace(f"{tmp_path.name}/{CARD}, ", "").split("\n")

    return tell


def card_of(tmp_path, text):
    (tmp_path / CARD).write_text(text)
    return read_card(tmp_path)


def test_the_least_card_is_enough(tmp_path):
    card = card_of(tmp_path, LEAST)
    assert (card.version, card.licence, card.deadline_seconds, card.patch, card.spacing_mm) == (
        "1",
        "",
        3600,
        None,
        None,
    )
    assert (card.intensity.method, card.output.outputs, card.channels) == ("none", ["segmentation"], 2)
    assert (card.names, card.codes) == ({1: "liver"}, {})


def test_all_that_can_be_shortened_is_made_long(tmp_path):
    text = LEAST.replace("id: scan", "{id: scan, modality: CT}") + "spacing_mm: 1.5\npatch: 64\nintensity: z-score\n"
    card = card_of(tmp_path, text.replace("Marks", ">\n  Marks\n ").replace("the liver.", "  the liver."))
    assert card.description == "Marks the liver."
    assert card.inputs[0].declared().modalities == ("CT",)
    assert (card.spacing_mm, card.patch, card.intensity.method) == ([1.5] * 3, [64] * 3, "z-score")


def test_all_faults_of_a_card_are_told_at_once_each_with_its_line_its_value_and_its_rule(faults):
    assert faults(
        """version: 1.0
deadline_seconds: 0
colour: red
inputs:
  - {id: 1st}
  - {id: scan, intensity: {method: window, low: 5, high: 1}}
orientation: RAR
spacing_mm: [1, 0, 1]
output: {kind: softmax, cut: 0.5}
patch: [64, 64]
overlap: 1
labels:
  0: background
  2: liver
"""
    ) == [
        "line 1: description: is missing.",
        "line 1: version: 1.0 must be a text; put it in quotes.",
        "line 2: deadline_seconds: 0 must be above 0.",
        f"line 3: colour: there is no such key here; write one of {', '.join(Card.model_fields)}.",
        "line 5: inputs.1: VolumeInput: '1st' cannot be an id, since perform() takes it by that name; write a letter, "
        "then letters, digits and _, at most 64, and none of Python's own words.",
        "line 6: inputs.2.intensity.high: 1 must be above low, 5.",
        "line 7: orientation: 'RAR' must have one letter of LR, one of PA, one of SI, such as RAS; or be as-sent.",
        "line 8: spacing_mm.2: 0 must be at least 0.001.",
        "line 9: output.cut: 0.5 has no meaning with kind: softmax; leave it out.",
        "line 10: patch: must have at least 3 entries, and has 2.",
        "line 11: overlap: 1 must be at most 0.95.",
        "line 12: labels: each value must be from 1 to 65535; 0 is the background and has no name.",
    ]


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("  1: liver", "  one: liver", "line 7: labels.one: 'one' must be a whole number."),
        ("  1: liver", "  2: liver", "line 6: labels: the values must be 1 to 1, each once: they count the network's"),
        ("  1: liver", "  1: liver\n  2: liver", "line 6: labels: two labels have the same name; give each its own."),
        ("  1: liver", "  1: liver\n  1: spleen", "line 8: labels.1: stands here a second time; keep one of them."),
        (
            "  1: liver",
            "  1: 7",
            "line 7: labels.1: 7 must be a name, in quotes where YAML takes it for something else",
        ),
        (
            "  1: liver",
            "  1: {name: liver, code: {value: 10200004, meaning: Liver}}",
            "line 7: labels.1.code.value: 10",
        ),
        (
            "  1: liver",
            "  1: {name: liver, code: {value: a^b, meaning: Liver}}",
            "line 7: labels.1.code: Code: value is",
        ),
        ("  1: liver", "  1: {name: ''}", "line 7: labels.1.name: must not be empty."),
        (
            "  1: liver",
            "  1: {title: x}",
            "line 7: labels.1.title: there is no such key here; write one of name, code.",
        ),
        ("labels:\n  1: liver", "", "line 1: labels: a segmentation needs them: write each value with its name"),
        ("softmax", "regression", "line 6: labels: a regression has none; leave them out."),
        (
            "softmax",
            "hardmax",
            "line 5: output.kind: 'hardmax' must be 'softmax', 'sigmoid', 'regression' or 'labels'.",
        ),
        ("softmax", "softmax, names: [a, b]", "line 5: output.names: a segmentation is one output; write one name."),
        ("softmax", "softmax, names: a-b", "line 5: output.names: 'a-b' must be a Python name of at most 64 letters."),
        (
            "softmax",
            "labels, activated: true",
            "line 5: output.activated: true has no meaning with kind: labels; leave",
        ),
        ("labels:", "overlap: 0.5\nlabels:", "line 6: overlap: 0.5 goes only with patch."),
        ("labels:", "patch: 8\nmultiple_of: 8\nlabels:", "line 7: multiple_of: 8 goes not together with patch."),
        ("labels:", "mirroring: ijx\nlabels:", "line 6: mirroring: 'ijx' must have some of the letters i, j, k, each"),
        ("labels:", "mirroring: ii\nlabels:", "line 6: mirroring: 'ii' must have some of the letters i, j, k, each"),
        ("softmax}", "labels}\nmirroring: i", "line 6: mirroring: 'i' goes not together with kind: labels, which have"),
        ("labels:", "sampling: cubic\nlabels:", "line 6: sampling: 'cubic' goes only with spacing_mm."),
        ("labels:", "intensity_of: sent\nlabels:", "line 6: intensity_of: 'sent' goes only with spacing_mm."),
        (
            "labels:",
            "spacing_mm: 1\nintensity: {method: z-score, voxels: inside}\nlabels:",
            "line 1: intensity_of: 'sampled' must be sent, since the outline of voxels: inside is that of",
        ),
        (
            "output: {kind: softmax}\nlabels:\n  1: liver",
            "crop: nonzero\noutput: {kind: regression}",
            "line 6: output: a regression has no values beyond the box of crop: nonzero; leave crop out.",
        ),
        (
            "output: {kind: softmax}\nlabels:\n  1: liver",
            "output: {kind: regression, largest_part: true}",
            "line 5: output.largest_part: true has no meaning with kind: regression; leave it out.",
        ),
        ("id: scan", "id: mirroring", "line 2: inputs: the id mirroring is that of the choice whether patches are"),
        ("labels:", "patch: 8.5\nlabels:", "line 6: patch: 8.5 must be a whole number."),
        ("labels:", "spacing_mm: 0,5\nlabels:", "line 6: spacing_mm: '0,5' must be a number, or a list of three."),
        ("labels:", "patch: true\nlabels:", "line 6: patch: true must be a number, or a list of three."),
        ("labels:", "spacing_mm: .inf\nlabels:", "line 6: spacing_mm: inf must be finite."),
        (
            "labels:",
            "intensity: {method: blur}\nlabels:",
            "line 6: intensity: method must be one of 'none', 'window', ",
        ),
        ("labels:", "intensity: {low: 1}\nlabels:", "line 6: intensity: method is missing; write one of none, window"),
        ("labels:", "intensity: {method: z-score, mean: 1}\nlabels:", "line 6: intensity: mean goes together with std"),
        (
            "labels:",
            "intensity: {method: z-score, std: 1}\nlabels:",
            "line 6: intensity.std: 1 goes together with mean",
        ),
        ("labels:", "intensity: {method: window, low: 1}\nlabels:", "line 6: intensity.high: is missing."),
        ("labels:", "intensity: {method: z-score, clip: [2, 1]}\nlabels:", "line 6: intensity.clip: the first number"),
        (
            "labels:",
            "intensity: {method: window, size: 1}\nlabels:",
            "line 6: intensity.size: there is no such key here;",
        ),
        ("id: scan", "{id: scan}\n  - {id: scan}", "line 2: inputs: two inputs have the id scan; give each its own."),
        ("id: scan", "id: cut", "line 2: inputs: the id cut is that of the probability above which a voxel counts"),
        (
            "id: scan",
            "{id: scan, modality: ct}",
            "line 3: inputs.1: VolumeInput('scan'): modalities=['ct']; write a list of DICOM's",
        ),
        ("orientation: RAS", "orientation: [", "line 6, column 1: this is no YAML"),
        ("orientation: RAS", "orientation: !!python/name:os.system", "line 4, column 14: this is no YAML"),
        ("orientation: RAS", "orientation: 2026-99-99", "line 4: '2026-99-99' is no date or number; put a text in"),
        ("labels:", f"patch: {'9' * 5000}\nlabels:", "line 6: '9999"),
        (
            "orientation: RAS",
            "orientation: R\x07S",
            "line 4: this is no YAML: the character U+0007 may not stand in it.",
        ),
        ("  - id: scan", "\t- id: scan", "line 3, column 1: this is no YAML: found character '\\t' that cannot start"),
        ("  1: liver", "  1: liver\n  0x1: spleen", "line 8: labels.0x1: stands here a second time; keep one of them."),
        ("labels:", "spacing_mm: 800\nlabels:", "line 6: spacing_mm: 800 must be at most 100."),
        ("labels:", "spacing_mm: 0.0008\nlabels:", "line 6: spacing_mm: 0.0008 must be at least 0.001."),
        ("labels:", "spacing_mm: 1e0\nlabels:", "line 6: spacing_mm: '1e0' must be a number, or a list of three; YAML"),
        ("labels:", "spacing_mm: 1mm\nlabels:", "line 6: spacing_mm: '1mm' must be a number, or a list of three."),
        ("labels:", "outside: 1.0e+300\nlabels:", "line 6: outside: 1e+300 must be at most 1e+30."),
        ("labels:", "deadline_seconds: 1.0e+300\nlabels:", "line 6: deadline_seconds: 1e+300 must be below 1e+09."),
        ("labels:", 'version: "1\\0"\nlabels:', "line 6: version: '1\\x00' holds characters that cannot be printed"),
        ("labels:", f"version: v{'1' * 300}\nlabels:", "line 6: version: must have at most 200 characters."),
        ("Marks the liver.", '"Marks\\e[31m"', "line 1: description: 'Marks\\x1b[31m' holds characters that cannot be"),
        ("Marks the liver.", '"\\ud800"', "line 1: description: '\\ud800' holds characters that cannot be"),
        (
            "  1: liver",
            "  1: no",
            "line 7: labels.1: false must be a name, in quotes where YAML takes it for something",
        ),
        (
            "id: scan",
            "{id: scan, name: 2024-01-01}",
            "line 3: inputs.1.name: 2024-01-01 must be a text; put it in quotes.",
        ),
        ("inputs:\n  - id: scan", "inputs:", "line 2: inputs: nothing must be a list."),
    ],
)
def test_a_wrong_card_is_refused_with_the_line_the_value_and_the_rule(faults, before, after, fault):
    assert LEAST.count(before) >= 1
    assert any(fault in told for told in faults(LEAST.replace(before, after, 1))), faults(
        LEAST.replace(before, after, 1)
    )


def test_patches_of_labels_cannot_be_blended(faults):
    told = faults(LEAST.replace("softmax", "labels") + "patch: 8\n")
    assert told == [
        "line 8: patch: 8 whole numbers of overlapping patches cannot be blended; export the network without argmax."
    ]


def test_a_card_that_is_no_mapping_no_text_or_too_long_is_refused(tmp_path):
    for raw, reason in (
        (b"- a\n", "must be a mapping"),
        (b"", "must be a mapping"),
        (b"\xff\n", "is not UTF-8 at byte 0"),
        (LEAST.encode("utf-16"), "is not UTF-8 at byte 0; save it as UTF-8"),
        (MANY, "line 1: a: there is no such key here"),
        (b"#" * 2**21, "has 2097152 bytes; a card has at most 1048576"),
        (b"[" * 5000, "this is no YAML"),
        (b"labels: &a {1: *a}", r"labels\.1\.1: a key here must be a text"),
        (b"a: &a [0, 0, 0, 0]\nb: &b [*a, *a, *a, *a]\nlabels: [*b, *b]", "line 3: labels: must be a mapping"),
    ):
        (tmp_path / CARD).write_bytes(raw)
        with pytest.raises(FolderRefused, match=reason):
            read_card(tmp_path)


def intensity(tmp_path, text):
    return card_of(tmp_path, LEAST + f"intensity: {text}\n").intensity


def test_intensities_are_scaled_as_the_card_says(tmp_path):
    voxels = np.array([0, 0, 2, 4, 10], np.float32)
    std = np.std([2, 4, 10])
    for text, expected in (
        ("none", [0, 0, 2, 4, 10]),
        ("{method: window, low: 2, high: 6}", [0, 0, 0, 0.5, 1]),
        ("{method: window, low: 2, high: 6, to: [-1, 1]}", [-1, -1, -1, 0, 1]),
        ("z-score", (voxels - 3.2) / voxels.std()),
        ("{method: z-score, voxels: nonzero}", [0, 0, *((np.array([2, 4, 10]) - 16 / 3) / std)]),
        ("{method: z-score, clip: [2, 6], mean: 4, std: 2}", [-1, -1, -1, 0, 1]),
        ("{method: percentiles, low: 0, high: 100}", [0, 0, 0.2, 0.4, 1]),
        ("{method: percentiles, low: 0, high: 75}", [0, 0, 0.5, 1, 2.5]),
        ("{method: percentiles, low: 0, high: 75, clip: [0, 2]}", [0, 0, 0.5, 1, 2]),
        ("{method: percentiles, low: 0, high: 100, voxels: nonzero}", [0, 0, 0, 0.25, 1]),
    ):
        made = scaled(voxels.copy(), intensity(tmp_path, text), "scan")
        assert made.dtype == np.float32
        assert np.allclose(made, expected, atol=1e-6), text
    inside = np.array([False, True, True, True, True])
    how = intensity(tmp_path, "{method: z-score, voxels: inside}")
    assert np.allclose(scaled(voxels.copy(), how, "scan", inside), [0, *((voxels[1:] - 4) / voxels[1:].std())])
    assert scaled(np.full(3, 7, np.float32), intensity(tmp_path, "z-score"), "scan").tolist() == [0, 0, 0]


def test_tiles_cover_a_volume_evenly_and_overlap_at_least_as_asked():
    assert starts_along(128, 64, 0.5) == [0, 32, 64]
    assert starts_along(100, 64, 0.5) == [0, 18, 36]
    assert starts_along(65, 64, 0.0) == [0, 1]
    covered = np.zeros((7, 5, 4), int)
    for place in tiles((7, 5, 4), (3, 5, 2), 0.5):
        assert covered[place].shape == (3, 5, 2)
        covered[place] += 1
    assert covered.min() >= 1


DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/folders.md").read_text()


def shown(default):
    if default is None:
        return "none"
    if hasattr(default, "method"):
        return f"`{default.method}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`" if default not in ("", {}) else "none"


@pytest.mark.parametrize("part", sorted(PARTS.keys() - {"none"}))
def test_every_key_of_a_card_stands_in_the_documents_with_its_kind_its_default_and_its_meaning(part):
    heading = {"": "The card", "labels": "A label", "code": "A code", "category": "A category"}.get(part, f"`{part}`")
    section = DOCUMENT[re.search(rf"^#+ {re.escape(heading)}$", DOCUMENT, re.MULTILINE).end() :].partition("\n#")[0]
    rows = re.findall(r"^\| (`.+)\|$", section, re.MULTILINE)
    assert [row.strip() for row in rows] == [
        f"`{key}` | {field.title} | {'needed' if field.is_required() else shown(field.default)} | {field.description}"
        for key, field in PARTS[part].model_fields.items()
        if key != "method"
    ]


def test_every_card_in_the_documents_is_one(tmp_path):
    cards = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(cards) >= 3
    for text in cards:
        card_of(tmp_path, text)
