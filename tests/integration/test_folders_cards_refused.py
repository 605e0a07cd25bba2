"""Networks in files with a card that cannot serve, and tickets that they refuse."""

import re
import shutil

import numpy as np
import pytest
import torch

from tests.integration.card_folders import CARD, CPU, PLACES, SAVES, a_folder, a_network, files, loaded, sent
from tomaat.reader import VolumeReader
from tomaat.refusals import WrongValue
from tomaat.services import TaskRefused
from tomaat.services.__main__ import main
from tomaat.services.expected_memory import NoRoom
from tomaat.services.folders import card_task
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task
from tomaat.volumes import Volume


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=1024**3)
    yield made
    made.close()


def test_volumes_on_two_grids_and_voxels_that_are_no_numbers_are_refused_by_their_input(tmp_path, reader):
    task = loaded(a_folder(tmp_path, a_network()))
    volumes = sent(files(tmp_path, PLACES["RAS"]), reader)
    other = volumes | {"t2": volumes["t2"].cropped(volumes["t2"].center_mm, (13, 10, 8))}
    for ask in (lambda: task.perform(**other), lambda: task.expected_memory(other, gpu_bytes=None)):
        with pytest.raises(TaskRefused, match=r"^t2: it has 13 x 10 x 8 voxels, and t1 has 13 x 10 x 9"):
            ask()
    with pytest.raises(TaskRefused, match=r"^t2: it holds voxels that are no finite numbers"):
        task.perform(**volumes | {"t2": volumes["t2"].like(np.full((13, 10, 9), np.nan, np.float32))})
    with pytest.raises(TaskRefused, match=r"^t2: the percentiles 2 and 95 of its voxels are both 3; there is nothing"):
        task.perform(**volumes | {"t2": volumes["t2"].like(np.full((13, 10, 9), 3))})


def test_a_volume_whose_outputs_have_no_room_is_refused_with_the_number(tmp_path, reader):
    task = make_task(a_folder(tmp_path, a_network(), CARD + "spacing_mm: [0.5, 1, 2]\npatch: 8\n"))
    volumes = sent(files(tmp_path, PLACES["RAS"]), reader)
    on_cpu, on_gpu = (task.expected_memory(volumes, gpu_bytes=each) for each in (None, 2**30))
    on_cpu.demand_room(2**20)
    rule = (
        "The ticket needs about 6.01e-05 GiB of the machine's memory, for 3 output channels of 26 x 10 x 8 voxels, as "
        "the network sees them, and 1.53e-05 GiB are free; send a part"
    )
    with pytest.raises(NoRoom, match=f"^{re.escape(rule)}"):
        on_cpu.demand_room(2**14)
    with pytest.raises(NoRoom):
        on_gpu.demand_room(2**14)
    assert on_gpu.gpu_bytes == 4 * 26 * 10 * (2 * 4 + (2 + 3 + 1) * 8), "4 planes, which are filled up to 8"
    whole = make_task(a_folder(tmp_path, a_network(), CARD + "patch: 8\n", name="Whole"))
    assert whole.expected_memory(volumes, gpu_bytes=2**30).gpu_bytes == 4 * (2 + 3 + 1) * 13 * 10 * 9, "no more is seen"
    assert (on_cpu.gpu_bytes, on_cpu.layers_bytes) == (0, None)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_network_that_the_card_does_not_fit_is_refused_before_any_ticket(tmp_path, kind):
    folder = a_folder(tmp_path, a_network(), kind=kind, fixed=True)
    file = f"Two{kind}/network.{kind}"
    for card, reason in (
        (CARD, rf"{file} takes volumes of 8, 8, 8 voxels, and the card says no patch; write patch: \[8, 8, 8\]"),
        (CARD + "patch: 9\n", rf"{file} takes volumes of 8, 8, 8 voxels, and the card says patch: \[9, 9, 9\]"),
        (
            CARD + "  3: cyst\npatch: 8\n",
            rf"{file} cannot be used: WrongValue: the network gives 3 channels, and by its "
            r"card \(output: softmax\) they are 4",
        ),
        (
            CARD.replace("orientation", "  - {id: t3}\norientation"),
            f"{file} takes 2 channels, and the card has 3 inputs",
        ),
    ):
        (folder / "tomaat.yaml").write_text(card)
        with pytest.raises(FolderRefused, match=reason):
            loaded(folder)


def test_a_script_that_gives_other_channels_than_the_card_says_is_told_at_its_ticket(tmp_path, reader):
    task = loaded(a_folder(tmp_path, a_network(2)))
    with pytest.raises(WrongValue, match=r"the network gives 2 channels, and by its card .* they are 3"):
        task.perform(**sent(files(tmp_path, PLACES["RAS"]), reader))


@pytest.mark.parametrize("kind", SAVES)
def test_only_onnx_is_loaded_without_trust(tmp_path, kind):
    task = make_task(a_folder(tmp_path, a_network(), kind=kind))
    if task.kind == "ONNX":
        task.load(CPU)
        return
    with pytest.raises(FolderRefused, match=f"Two{kind} is not trusted: A .* is a program, "):
        task.load(CPU)


def test_a_file_that_has_only_the_ending_of_its_kind_is_refused(tmp_path):
    folder = a_folder(tmp_path, a_network())
    exported = folder / "network.pt2"
    shutil.copy(folder / "network.ts", exported)
    with pytest.raises(FolderRefused, match=r"Twots holds the files of TorchScript and torch\.export"):
        make_task(folder)
    (folder / "network.ts").rename(exported)
    with pytest.raises(FolderRefused, match=r"Twots/network\.pt2 is none of torch\.export\.save"):
        make_task(folder)
    exported.rename(folder / "network.ts")
    torch.save(a_network().state_dict(), folder / "network.ts")
    with pytest.raises(FolderRefused, match=r"Twots/network\.ts holds weights alone, and no network"):
        make_task(folder)
    (folder / "network.ts").write_bytes(b"no archive")
    with pytest.raises(FolderRefused, match=r"Twots/network\.ts is no file of torch"):
        make_task(folder)
    (folder / "network.ts").rename(folder / "network.onnx")
    with pytest.raises(FolderRefused, match=r"Twots/network\.onnx is no ONNX file"):
        make_task(folder)


def test_channels_on_one_grid_are_turned_alike_though_their_axes_lie_at_45_degrees(tmp_path, reader):
    card = CARD.replace("softmax", "regression, names: [t1, t2]").partition("labels:")[0].replace("z-score", "none")
    card = card.replace(", intensity: {method: percentiles, low: 2, high: 95, clip: [0, 1]}", "")
    task = loaded(a_folder(tmp_path, torch.nn.Identity(), card))
    turned = []
    for sense in (-1, 1):
        along, across = np.cos(np.pi / 4 + sense * 1e-6), np.sin(np.pi / 4 + sense * 1e-6)
        axes = ((along, -across, 0.0), (across, along, 0.0), (0.0, 0.0, 1.0))
        voxels = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
        turned.append(Volume(array=voxels, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes))
    assert len({volume.orientation for volume in turned}) == 2
    outputs = task.perform(t1=turned[0], t2=turned[1])
    assert np.array_equal(outputs["t1"].array, turned[0].array)
    assert np.array_equal(outputs["t2"].array, outputs["t1"].array)


class Wrong(torch.nn.Module):
    """Gives its first channel, with a value of its own in two corners."""

    def __init__(self, value, channels):
        super().__init__()
        self.value = value
        self.channels = channels

    def forward(self, voxels):
        given = torch.zeros_like(voxels[:, :1]).repeat(1, self.channels, 1, 1, 1)
        given[:, -1, 0, 0, 0] = self.value
        given[:, -1, -1, -1, -1] = -self.value
        return given


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize(
    ("output", "channels"),
    [
        ("{kind: softmax}", 3),
        ("{kind: softmax, activated: true}", 3),
        ("{kind: sigmoid}\npatch: [13, 10, 9]", 2),
        ("{kind: labels}", 1),
        ("{kind: regression}", 1),
    ],
)
def test_outputs_that_are_no_finite_numbers_become_no_result(tmp_path, reader, value, output, channels):
    card = CARD.replace("{kind: softmax}", output)
    card = card.partition("labels:\n")[0] if "regression" in output else card
    task = loaded(a_folder(tmp_path, Wrong(value, channels), card))
    rule = (
        rf"^2 of {channels * 13 * 10 * 9} values that the network gave are infinite or no numbers; export it in float32"
    )
    with pytest.raises(WrongValue, match=rule):
        task.perform(**sent(files(tmp_path, PLACES["RAS"]), reader))


def test_large_outputs_whose_sum_has_no_float_are_finite():
    card_task.demand_finite(torch.full((2, 4, 4, 4), 3e38))


@pytest.mark.parametrize("value", [0.5, 0.02, 6.998])
def test_probabilities_are_no_labels(tmp_path, reader, value):
    task = loaded(a_folder(tmp_path, Wrong(value, 1), CARD.replace("softmax", "labels")))
    with pytest.raises(
        WrongValue, match=rf"^the network gave {value}, which is no label; .* look like probabilities: "
    ):
        task.perform(**sent(files(tmp_path, PLACES["RAS"]), reader))


def test_a_network_that_tells_how_many_channels_it_gives_is_refused_before_any_ticket(tmp_path):
    rule = (
        r"Twoonnx/network\.onnx cannot be used: WrongValue: the network gives 3 channels, and by its card .* they are 4"
    )
    with pytest.raises(FolderRefused, match=rule):
        loaded(a_folder(tmp_path, a_network(), CARD + "  3: cyst\n", kind="onnx"))


def test_a_patch_that_no_memory_holds_is_refused_with_the_numbers(tmp_path):
    rule = (
        r"Twots/network\.ts: by its card it sees patches of 2048 x 2048 x 2048 voxels, whose channels need 192 GiB of "
        r"memory, and there are .* GiB; write a smaller patch\."
    )
    with pytest.raises(FolderRefused, match=f"^{rule}"):
        loaded(a_folder(tmp_path, a_network(), CARD + "patch: 2048\n"))


def test_what_a_tried_network_does_wrong_is_told_in_a_sentence(tmp_path, capsys):
    paths = files(tmp_path, PLACES["RAS"])
    words = ["try", str(a_folder(tmp_path, a_network(2))), *(f"t{n}={path}" for n, path in enumerate(paths, start=1))]
    assert main([*words, "--trust", "--device", "cpu", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "The network failed: the network gives 2 channels, and by its card (output: softmax) they are 3; mend the "
        "card's labels or names.\n"
    )


def test_a_file_of_a_later_onnx_is_refused_with_the_remedy(tmp_path):
    onnx = pytest.importorskip("onnx")
    folder = a_folder(tmp_path, a_network(), kind="onnx")
    model = onnx.load(folder / "network.onnx")
    model.ir_version = 99
    onnx.save(model, folder / "network.onnx")
    rule = (
        r"Twoonnx/network\.onnx cannot be used: ValueError: Unsupported model IR version: 99, max supported IR version"
        r": \d+; export it with a lower opset_version$"
    )
    with pytest.raises(FolderRefused, match=f"^{rule}"):
        loaded(folder)
