"""A trained-model folder of nnU-Net gives what nnunetv2 itself gives of the same files, voxel by voxel."""

import importlib.util
import json
import sys
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tomaat.reader import VolumeReader
from tomaat.services.cancelled import Cancelled
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task
from tomaat.services.folders.nnunet import NNUNET
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Volume

pytest.importorskip("nnunetv2", reason="nnunetv2 is not here; requirements-nnunet.txt brings it")
import nibabel
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from tests.nnunet_folders import (
    CPU,
    LABELS,
    PLACES,
    REGIONS,
    Called,
    change_checkpoint,
    edit,
    make_folder,
    write_scans,
)
from tomaat.services.folders import nnunet_network, nnunet_way_back
from tomaat.services.folders.nnunet_load import read_weights
from tomaat.services.folders.nnunet_tiles import TilePredictor


def predictor_of(place, *, folds=None, step=0.5, mirroring=True):
    """nnunetv2's own predictor of a folder; its method for folders would import all that training needs."""
    plans, dataset = (json.loads((place / name).read_text()) for name in ("plans.json", "dataset.json"))
    manager = PlansManager(plans)
    paths = sorted(place.glob("fold_*/checkpoint_final.pth")) if folds is None else folds
    read = [torch.load(path, weights_only=False) for path in paths]
    configuration = manager.get_configuration("3d_fullres")
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(dataset["channel_names"]),
        manager.get_label_manager(dataset).num_segmentation_heads,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(tile_step_size=step, use_mirroring=mirroring, device=CPU, allow_tqdm=False)
    predictor.manual_initialization(
        network, manager, configuration, [each["network_weights"] for each in read], dataset, "nnUNetTrainer",
        read[0]["inference_allowed_mirroring_axes"],
    )  # fmt: skip
    return predictor


def theirs(predictor, files, folder, *, method="predict_from_files_sequential"):
    """Let nnunetv2 read and write files by itself; give what it wrote, (i, j, k), of each list of files."""
    outputs = [str(folder / f"theirs_{number}") for number in range(len(files))]
    pools = {"num_processes_preprocessing": 1, "num_processes_segmentation_export": 1}
    run = getattr(predictor, method)
    run([list(map(str, each)) for each in files], outputs, **(pools if method == "predict_from_files" else {}))
    return [np.asarray(nibabel.load(f"{output}.nii.gz").dataobj) for output in outputs]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks as small as these take longer on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=2**26)
    yield made
    made.close()


def task_of(place):
    task = make_task(place)
    task.load(CPU)
    return task


def ours(task, files, reader, **options):
    volumes = {id: reader.read(file) for id, file in zip(task.channel_ids, files, strict=True)}
    return task.perform(**volumes, **options)["segmentation"]


def held_to_theirs(place, folder, reader, names=tuple(PLACES), **options):
    """Hold the service's labels to nnunetv2's own, of the same files."""
    task = task_of(place)
    files = [write_scans(folder, name, len(task.channel_ids)) for name in names]
    expected = theirs(predictor_of(place), files, folder)
    for name, own, right in zip(names, (ours(task, each, reader, **options) for each in files), expected, strict=True):
        assert len(np.unique(right)) > 1, "random weights show more than one label"
        np.testing.assert_array_equal(own.volume.array, right, err_msg=name)
    return task


@pytest.mark.slow
def test_a_folder_gives_what_predict_from_files_gives_of_oblique_flipped_and_anisotropic_volumes(tmp_path, reader):
    place = make_folder(tmp_path / "Tiny", names=("CT", "MR T1"), folds=("0", "1", "2", "3", "4"))
    task = task_of(place)
    files = [write_scans(tmp_path, name, 2) for name in PLACES]
    before = sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*"))
    expected = theirs(predictor_of(place), files, tmp_path, method="predict_from_files")
    for each, right in zip(files, expected, strict=True):
        found = ours(task, each, reader)
        np.testing.assert_array_equal(found.volume.array, right)
        assert found.names == {1: "liver", 2: "spleen"}
        assert [(code.value, code.scheme) for code in found.codes.values()] == [
            ("10200004", "SCT"),
            ("78961009", "SCT"),
        ]
    assert sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) == before, "nothing is written into it"


@pytest.mark.parametrize("io", ["NibabelIOWithReorient", "NibabelIO"])
def test_a_network_that_knows_ras_only_sees_ras_and_its_labels_come_back(io, tmp_path, reader):
    place = make_folder(tmp_path / "Tiny", reader=io, spacing=(4.0, 2.2, 1.8))
    held_to_theirs(place, tmp_path, reader)


def test_axes_that_the_plans_transpose_come_back(tmp_path, reader):
    place = make_folder(tmp_path / "Tiny", forward=(1, 2, 0), spacing=(2.1, 2.7, 3.3), patch=(16, 8, 24))
    held_to_theirs(place, tmp_path, reader)


def test_regions_are_painted_one_over_the_other(tmp_path, reader):
    place = make_folder(tmp_path / "Tiny", labels=REGIONS, order=[1, 2, 3])
    task = held_to_theirs(place, tmp_path, reader)
    assert task.model.labels.names == {1: "tumour, rest", 2: "core, rest", 3: "enhancing"}


def test_a_network_of_slices_serves_volumes(tmp_path, reader):
    held_to_theirs(make_folder(tmp_path / "Tiny", patch=(16, 24)), tmp_path, reader)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # acvl_utils, in nnunetv2's own run
def test_a_resampling_that_is_not_the_usual_one_is_nnunets_own_function(tmp_path, reader):
    place = make_folder(tmp_path / "Tiny")
    plans = json.loads((place / "plans.json").read_text())
    plans["configurations"]["base"] |= {
        "resampling_fn_probabilities": "resample_torch_fornnunet",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "force_separate_z": None},
    }
    (place / "plans.json").write_text(json.dumps(plans))
    held_to_theirs(place, tmp_path, reader, names=("oblique", "anisotropic"))


def test_the_order_of_channels_is_that_of_their_numbers_not_of_the_file(tmp_path, reader):
    place = make_folder(tmp_path / "Tiny", names=("CT", "FLAIR"))
    edit(place / "dataset.json", channel_names={"1": "FLAIR", "0": "CT"})
    task = held_to_theirs(place, tmp_path, reader, names=("oblique",))
    assert task.channel_ids == ("ct", "flair")
    assert [each.modalities for each in task.inputs[:2]] == [("CT",), None]


def test_folds_step_and_mirroring_are_inputs_with_nnunets_defaults(tmp_path, reader):
    place = make_folder(tmp_path / "Tiny", folds=("0", "1", "all"))
    task = task_of(place)
    options = {each.id: each for each in task.inputs[1:]}
    assert options["folds"].choices == ("together", "fold_0", "fold_1", "fold_all")
    assert {id: each.default for id, each in options.items()} == {
        "folds": "together",
        "tile_step": 0.5,
        "mirroring": True,
    }
    files = write_scans(tmp_path, "oblique", 1)
    alone = predictor_of(place, folds=[place / "fold_1" / "checkpoint_final.pth"], step=0.8, mirroring=False)
    (expected,) = theirs(alone, [files], tmp_path)
    own = ours(task, files, reader, folds="fold_1", tile_step=0.8, mirroring=False)
    np.testing.assert_array_equal(own.volume.array, expected)
    both = predictor_of(place, folds=[place / f"fold_{fold}" / "checkpoint_final.pth" for fold in "01"])
    np.testing.assert_array_equal(ours(task, files, reader).volume.array, theirs(both, [files], tmp_path)[0])


def test_more_than_255_labels_fit(tmp_path, reader):
    many = {"background": 0, **{f"part {number}": number for number in range(1, 301)}}
    place = make_folder(tmp_path / "Tiny", labels=many, outputs=301, spacing=(5.0, 4.0, 4.0))
    task = held_to_theirs(place, tmp_path, reader, names=("flipped",))
    found = ours(task, write_scans(tmp_path, "flipped", 1), reader)
    assert found.volume.array.max() > 255


@pytest.mark.parametrize("painted", [(), (2, 1, 3)])
@pytest.mark.parametrize("shape", [(9, 7, 5), (4, 14, 11), (3, 5, 12), (8, 5, 6), (4, 5, 6)])
@pytest.mark.parametrize("nearest", [None, 0])
@pytest.mark.parametrize("largest_bytes", [1, 2000, 2**20])
def test_slabs_give_the_labels_of_whole_resampled_outputs(painted, shape, nearest, largest_bytes, monkeypatch):
    """Few different numbers, so that many outputs are equal once they are float16."""
    random = np.random.default_rng(5)
    logits = random.integers(-3, 4, (3, 4, 5, 6)) * np.float16(0.1) + random.integers(0, 2, (3, 4, 5, 6))
    logits = logits.astype(np.float16)
    whole = resample_data_or_seg(logits, shape, axis=nearest, order=1, do_separate_z=nearest is not None)
    labels = REGIONS if painted else LABELS
    right = LabelManager(labels, list(painted) or None).convert_logits_to_segmentation(whole)
    monkeypatch.setattr(nnunet_way_back, "CPU_SLAB_BYTES", largest_bytes)
    told = []
    own = nnunet_way_back.in_slabs(
        torch.from_numpy(logits), shape, nearest, painted, device=CPU, progress=lambda *each: told.append(each)
    )
    np.testing.assert_array_equal(own, right)
    assert told[0] == (0.0, "labels")


def test_a_half_is_rounded_once():
    just_above = 1 + 2.0**-11 + 2.0**-40  # in float32 half way between two of float16, which the even one wins
    values = np.array([just_above, -just_above, 6e-8, 3.1e-6, 0.0, 2049.0, 2051.0])
    rounded = nnunet_way_back.as_half(torch.from_numpy(values))
    np.testing.assert_array_equal(rounded.numpy(), values.astype(np.float16))


def test_the_least_number_that_rounds_to_a_half_does_and_the_one_below_does_not():
    halves = np.arange(-(2**15), 2**15).astype(np.int16).view(np.float16)
    halves = halves[np.abs(halves) < 60_000]
    least = nnunet_way_back.least_of(torch.from_numpy(halves.astype(np.float64))).numpy()
    np.testing.assert_array_equal(least.astype(np.float16), halves)
    assert (np.nextafter(least, -np.inf).astype(np.float16) < halves).all()
    below = np.nextafter(nnunet_way_back.least_of_a_region(), -1)
    probable = torch.from_numpy(np.array([below, nnunet_way_back.least_of_a_region()]).astype(np.float16))
    assert (probable.float().sigmoid() > 0.5).tolist() == [False, True]


# Memory

LAYERS_BYTES = 6 * 4 * 4 * 16**3  #: of the tiny network, for a patch of 16 voxels


def large(shape):
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    array = np.broadcast_to(np.ones(1, np.int16), shape)
    return Volume(array=array, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0), direction=axes)


def test_the_memory_of_a_volume_is_foretold_by_its_outputs_before_anything_is_loaded(tmp_path):
    task = make_task(make_folder(tmp_path / "Tiny", folds=("0", "1"), network=False))
    on_cpu, on_gpu, on_small = (
        task.expected_memory({"ct": large((300, 300, 300)), "folds": "fold_0"}, gpu_bytes=gpu)
        for gpu in (None, 2**40, 2**27)
    )
    voxels = 150 * 200 * 200
    assert on_cpu.about == "for 3 outputs of 150 x 200 x 200 voxels"
    assert on_cpu.machine_bytes >= (4 + 2 * 3) * voxels, "what the network sees, and outputs of 16 bits"
    assert on_gpu.gpu_bytes == 0, "nothing is refused for outputs, which may lie in the machine's memory instead"
    assert on_gpu.layers_bytes >= (4 + 2 * 3) * voxels + on_small.layers_bytes
    assert on_gpu.machine_bytes < on_small.machine_bytes, "the outputs lie on the device, where they fit"
    assert on_cpu.layers_bytes == on_small.layers_bytes == LAYERS_BYTES
    several = task.expected_memory({"ct": large((300, 300, 300)), "folds": "together"}, gpu_bytes=2**40)
    assert several.layers_bytes - on_gpu.layers_bytes == 2 * 3 * voxels, "the sum, and the next one's"


def test_a_ticket_of_few_voxels_is_not_foretold_to_need_a_slab(tmp_path):
    task = make_task(make_folder(tmp_path / "Tiny", network=False))
    assert task.expected_memory({"ct": large((30, 30, 30))}, gpu_bytes=None).machine_bytes < 2**23


def test_only_the_box_of_what_is_not_0_is_foretold_to_be_seen(tmp_path):
    task = make_task(make_folder(tmp_path / "Tiny", network=False))
    scan = large((100, 100, 100))
    array = np.zeros(scan.array.shape, np.int16)
    array[20:70, 30:80, 10:60] = 1
    boxed, cut, whole = (
        task.expected_memory({"ct": each}, gpu_bytes=None) for each in (scan.like(array), large((50, 50, 50)), scan)
    )
    assert boxed.about == cut.about
    assert cut.machine_bytes <= boxed.machine_bytes < whole.machine_bytes


def waits():
    """Tell the threads of nnU-Net's loops that are still there after a second."""
    threads = [each for each in threading.enumerate() if "producer" in each.name]
    for each in threads:
        each.join(1)
    return [each for each in threads if each.is_alive()]


def gpu_like(task, monkeypatch):
    """Let the outputs lie "on the device", as on a GPU with room."""
    monkeypatch.setattr(nnunet_network.NnunetNetwork, "total_bytes", 2**50)
    monkeypatch.setattr(task.network, "device", type("Device", (), {"type": "cuda"})())


@pytest.mark.parametrize("when", ["in the network", "before the first tile"])
def test_an_exhausted_device_is_told_at_once_so_that_room_can_be_made(when, tmp_path, reader, monkeypatch):
    place = make_folder(tmp_path / "Tiny")
    task, files = task_of(place), write_scans(tmp_path, "oblique", 1)
    gpu_like(task, monkeypatch)
    asked, kept, told = [], [], []
    scans = {"ct": reader.read(files[0])}
    assert not TilePredictor(torch.device("cuda")).perform_everything_on_device, (
        "else nnU-Net tries once more by itself"
    )

    def exhausted(*_, **__):
        asked.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as broken:
        if when == "in the network":
            broken.setattr(task.network.predictor.network, "forward", exhausted)
        else:
            broken.setattr(sys.modules["nnunetv2.inference.predict_from_raw_data"], "compute_gaussian", exhausted)
        with pytest.raises(torch.OutOfMemoryError):
            ours(task, files, reader)
    assert (len(asked), waits()) == (1, []), (
        "nnU-Net would try once more by itself, and leave a thread with its tensors"
    )
    own = task.network.predictor._internal_predict_sliding_window_return_logits
    monkeypatch.setattr(
        task.network.predictor, "_internal_predict_sliding_window_return_logits",
        lambda *each: kept.append(task.network.predictor.keeps_on_device) or own(*each),
    )  # fmt: skip
    for _ in range(2):
        told.append(task.expected_memory(scans, gpu_bytes=2**50).layers_bytes > LAYERS_BYTES)
        ours(task, files, reader)
    assert told == kept
    assert kept == [False, True], "the try after that, with room made, keeps the outputs in the machine's memory"


def test_a_ticket_tells_each_tile_and_is_cancelled_between_two(tmp_path, reader, capsys):
    place = make_folder(tmp_path / "Tiny", folds=("0", "1"), spacing=(1.5, 1.2, 1.2))
    task, files = task_of(place), write_scans(tmp_path, "oblique", 1)
    told = []
    task.report = lambda fraction, stage: (print(stage), told.append((fraction, stage)))  # noqa: T201 (as `try` does)
    whole = ours(task, files, reader)
    assert capsys.readouterr().out.count("tile 1 of ") == 2, "a program that prints the progress prints it"
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    tiles = [stage for _, stage in told if stage.startswith("tile")]
    assert len(tiles) > 10
    assert tiles[0].startswith("tile 1 of ")
    calls = []
    task.network.predictor.network.register_forward_hook(lambda *_: calls.append(1))

    def give_up(_fraction, stage):
        if stage.startswith("tile 3 "):
            raise Cancelled

    task.report = give_up
    with pytest.raises(Cancelled):
        ours(task, files, reader, mirroring=False)
    assert (len(calls), waits()) == (2, [])
    task.report = lambda *_: None
    np.testing.assert_array_equal(ours(task, files, reader).volume.array, whole.volume.array)


# The library as a guest


def test_a_print_and_a_wish_to_exit_stay_inside_and_settings_are_put_back(tmp_path, reader, capsys, monkeypatch):
    place = make_folder(tmp_path / "Tiny")
    before = torch.backends.cudnn.benchmark, torch.get_num_threads()
    task, files = task_of(place), write_scans(tmp_path, "oblique", 1)

    def leave(_self, _data):
        print("goodbye")  # noqa: T201 (a library's)
        torch.set_num_threads(2)
        sys.exit(3)

    monkeypatch.setattr(type(task.network.predictor), "predict_sliding_window_return_logits", leave)
    with pytest.raises(RuntimeError, match="asked to end the process"):
        ours(task, files, reader)
    assert (torch.backends.cudnn.benchmark, torch.get_num_threads()) == before
    assert capsys.readouterr().out == ""


def test_code_of_a_checkpoint_runs_only_where_its_folder_is_trusted(tmp_path):
    place, mark = make_folder(tmp_path / "Tiny"), tmp_path / "called"
    harmless = make_task(place)
    change_checkpoint(place / "fold_0/checkpoint_final.pth", logging=Called(mark))
    with pytest.raises(FolderRefused, match="is not trusted"):
        task_of(place)
    with pytest.raises(FolderRefused, match="cannot be read"):  # a file that changed between two looks at it
        read_weights(place, harmless.model, "0")
    assert not mark.exists()
    trusted = make_task(place)
    type(trusted).is_trusted = True
    trusted.load(CPU)
    assert mark.exists()


def test_a_trainer_that_nnunetv2_does_not_have_is_refused_by_its_name(tmp_path):
    place = make_folder(tmp_path / "Tiny")
    change_checkpoint(place / "fold_0/checkpoint_final.pth", trainer_name="nnUNetTrainerMine")
    with pytest.raises(FolderRefused, match="'nnUNetTrainerMine', which this nnunetv2 does not have"):
        make_task(place)


def test_weights_of_another_network_are_refused(tmp_path):
    place = make_folder(tmp_path / "Tiny", folds=("0", "1"))
    wider = make_folder(tmp_path / "Wider", names=("CT", "MR"))
    (wider / "fold_0/checkpoint_final.pth").replace(place / "fold_1/checkpoint_final.pth")
    with pytest.raises(FolderRefused, match=r"fold_1/checkpoint_final\.pth: its weights are not those of the network"):
        task_of(place)


@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")  # as nnunetv2 says
def test_plans_and_numbers_of_2023_serve(tmp_path, reader):
    """As TotalSegmentator's: plans without an architecture, and numbers that numpy 1 wrote."""
    place = make_folder(tmp_path / "Tiny", reader="NibabelIOWithReorient")
    plans = json.loads((place / "plans.json").read_text())
    configuration = plans["configurations"]["base"]
    del configuration["architecture"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "num_pool_per_axis": [1, 1, 1],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
    }
    (place / "plans.json").write_text(json.dumps(plans))
    path = place / "fold_0/checkpoint_final.pth"
    rename(path, b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert NNUNET.needs_trust(place) is None
    held_to_theirs(place, tmp_path, reader, names=("flipped",))


def rename(path, old, new):
    """Write another module's name into a checkpoint's pickle."""
    with zipfile.ZipFile(path) as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            assert not name.endswith("data.pkl") or old in content
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


def test_a_trainer_that_builds_another_network_names_the_package_that_it_needs(tmp_path):
    place = make_folder(tmp_path / "Tiny")
    change_checkpoint(place / "fold_0/checkpoint_final.pth", trainer_name="nnUNetTrainerBN")
    if importlib.util.find_spec("batchgeneratorsv2"):
        pytest.skip("here is all that training needs")
    with pytest.raises(FolderRefused, match="needs the package batchgeneratorsv2"):
        task_of(place)


@pytest.mark.filterwarnings("ignore:divide by zero")  # of scikit-image, just before
def test_volumes_that_the_network_could_not_understand_are_refused(tmp_path):
    task = task_of(make_folder(tmp_path / "Tiny", names=("CT", "MR")))
    one, other = large((20, 20, 20)), large((20, 20, 21))
    with pytest.raises(TaskRefused, match=r"^mr: it has 20 x 20 x 21 voxels"):
        task.perform(ct=one, mr=other)
    wrong = one.like(np.full((20, 20, 20), np.nan, np.float32))
    with pytest.raises(TaskRefused, match="ct: 8000 of its voxels are not finite"):
        task.perform(ct=wrong, mr=one)
    thin = replace(large((20, 1, 20)), spacing_mm=(1.0, 0.7, 1.0))
    with pytest.raises(TaskRefused, match=r"thinner than half a voxel of the network, which has 2 x 1\.5 x 1\.5 mm"):
        task.perform(ct=thin, mr=thin)
    with pytest.raises(TaskRefused, match="all voxels are 0"):
        task.perform(ct=one.like(np.zeros((20, 20, 20))), mr=one.like(np.zeros((20, 20, 20))))
