"""MONAI bundles as services: what they give, voxel by voxel what MONAI's own evaluator gives; and their walls."""

import json
import os
import random
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

pytest.importorskip("monai")
pytest.importorskip("ignite")

from tests import monai_bundles as made
from tomaat.reader import VolumeReader
from tomaat.services import Cancelled, TaskRefused
from tomaat.services.folders import kinds
from tomaat.services.folders.bundle import BUNDLE
from tomaat.services.folders.folder_refused import FolderRefused

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's and ignite's own


def oblique():
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return placed(turn @ tilt)


def placed(axes, spacing=(0.9, 1.3, 2.5)):
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes) * spacing
    affine[:3, 3] = (31.5, -20.25, 12)
    return affine


AFFINES = {
    "RAS": placed(np.eye(3)),
    "LPS, flipped": placed(np.diag([-1, -1, 1])),
    "turned": placed([[0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "oblique": oblique(),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small networks on a busy machine are quicker without others to wait for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reader():
    reader = VolumeReader(largest_voxel_bytes=10**8)
    yield reader
    reader.close()


def make(place):
    """Make a bundle's task as the worker does, whichever kinds there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "KINDS", (BUNDLE,))
        return kinds.make_task(place, "Tiny")


def task_of(place, device="cpu"):
    task = make(place)
    type(task).is_trusted = True
    task.load(device)
    return task


def volumes_of(task, files, reader):
    return {each.id: reader.read(file) for each, file in zip(task.inputs, files, strict=False)}


@pytest.mark.parametrize(("form", "channels", "names"), [("json", 1, AFFINES), ("yaml", 2, ["turned", "oblique"])])
def test_a_service_gives_voxel_by_voxel_what_the_bundles_own_evaluator_gives(form, channels, names, tmp_path, reader):
    place = made.write_bundle(tmp_path / "tiny", channels=channels, form=form)
    task = task_of(place)
    for number, name in enumerate(names):
        files = [
            made.write_image(tmp_path / f"{number}-{n}.nii.gz", affine=AFFINES[name], seed=n) for n in range(channels)
        ]
        labels = task.perform(**volumes_of(task, files, reader))["segmentation"]
        [wanted] = made.run_by_monai(place, files)
        assert np.unique(wanted).tolist() == [0, 1, 2], name
        assert np.array_equal(labels.volume.array, wanted), name
        assert labels.names == {1: "spleen", 2: "liver"}


@pytest.fixture(scope="module")
def scan(reader, tmp_path_factory):
    """One small volume; most tests need no other."""
    path = made.write_image(tmp_path_factory.mktemp("scan") / "scan.nii.gz", affine=AFFINES["oblique"])
    return reader.read(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One loaded bundle, for tests that do not change it."""
    return task_of(made.write_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


def changed(tmp_path, *after, name="changed", **parts):
    """Write a bundle whose configuration has other parts, and further transforms before it saves."""
    config = made.inference()
    config.update(parts)
    config["postprocessing"]["transforms"][-1:-1] = after
    return made.write_bundle(tmp_path / name, config=config)


def files_in(place):
    return {path: path.stat().st_mtime_ns for path in place.rglob("*")}


def causes(error):
    return " ".join(str(each) for each in (error, error.__cause__, error.__cause__ and error.__cause__.__cause__))


def test_the_network_keeps_the_weights_of_the_file_from_ticket_to_ticket(tiny, scan):
    network = tiny.bundle.network
    first = tiny.perform(image=scan)["segmentation"].volume.array
    assert np.array_equal(tiny.perform(image=scan)["segmentation"].volume.array, first)
    assert tiny.bundle.network is network
    for name, value in made.weights().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_the_memory_is_foretold_by_the_spacing_the_tiles_and_the_networks_first_layer(tiny, scan, monkeypatch):
    shapes, infer = [], tiny.bundle._infer
    monkeypatch.setattr(
        tiny.bundle, "_infer", lambda _, inputs, *more: shapes.append(inputs.shape) or infer(_, inputs, *more)
    )
    tiny.perform(image=scan)
    assert np.abs(np.subtract(tiny.sizes.seen(scan), shapes[0][2:])).max() <= 1
    voxels = int(np.prod(tiny.sizes.seen(scan)))
    on_cpu, on_gpu = (tiny.expected_memory({"image": scan}, gpu_bytes=each) for each in (None, 2**30))
    assert (on_cpu.machine_bytes, on_cpu.gpu_bytes) == (4 * (1 + 3) * voxels, 0)
    assert (on_gpu.machine_bytes, on_gpu.gpu_bytes) == (4 * voxels, 4 * voxels)
    tiles = 6 * 4 * 4 * 4 * 16**3  # of 4 channels each, 4 at once
    assert tiles < on_cpu.layers_bytes < tiles + 100 * (voxels + scan.array.size)
    assert on_gpu.layers_bytes == tiles + 4 * 3 * voxels, "the transforms work in the machine's memory"


def test_another_overlap_of_tiles_gives_what_the_evaluator_gives_with_it(tiny, tmp_path, reader):
    file = made.write_image(tmp_path / "scan.nii.gz", shape=(40, 30, 20))
    config = made.inference()
    config["inferer"]["overlap"] = 0.2
    [wanted] = made.run_by_monai(made.write_bundle(tmp_path / "other", config=config), [file])
    scan = reader.read(file)
    assert np.array_equal(tiny.perform(image=scan, tile_overlap=0.2)["segmentation"].volume.array, wanted)
    assert not np.array_equal(tiny.perform(image=scan, tile_overlap=0.5)["segmentation"].volume.array, wanted)
    assert tiny.bundle.inferer.overlap == 0.5


def test_volumes_of_two_grids_are_refused_by_the_inputs_name(tmp_path, reader):
    task = task_of(made.write_bundle(tmp_path / "tiny", channels=2))
    files = [made.write_image(tmp_path / f"{n}.nii.gz", shape=(20, 20, 20 - n)) for n in range(2)]
    with pytest.raises(TaskRefused, match=r"^t2: it has 20 x 20 x 19 voxels, and t1 has 20 x 20 x 20"):
        task.perform(**volumes_of(task, files, reader))


def test_progress_is_told_at_each_tile_and_cancelling_ends_before_the_next(tiny, scan):
    from tomaat.services.folders.bundle_run import tiles_of  # noqa: PLC0415 (MONAI)

    told, tiles = [], []
    network = tiny.bundle.network
    counting = network.register_forward_hook(lambda *_: tiles.append(1))
    try:
        tiny.report = lambda fraction, stage: told.append((fraction, stage))
        tiny.perform(image=scan, tile_overlap=0.8)
        assert [stage for _, stage in told] == ["preprocessing", *["network"] * len(tiles), "postprocessing"]
        assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
        assert len(tiles) > 3

        def give_up(fraction, _):
            if fraction > 0.1:
                raise Cancelled

        tiles.clear()
        tiny.report = give_up
        with pytest.raises(Cancelled):
            tiny.perform(image=scan, tile_overlap=0.8)
        assert len(tiles) == 1
        assert not network._forward_pre_hooks
    finally:
        counting.remove()
        tiny.report = lambda *_: None
    assert tiles_of(tiny.bundle.inferer, (1, 1, 16, 16, 16)) == 1
    assert tiles_of(tiny.bundle.inferer, (1, 1, 17, 33, 10)) == 2


def scripts(place, factor):
    """Give a bundle Python files of its own: a network, which imports another file when it runs."""
    (place / "scripts").mkdir()
    (place / "scripts/__init__.py").touch()
    (place / "scripts/factor.py").write_text(f"FACTOR = {factor}\n")
    (place / "scripts/net.py").write_text(
        "from monai.networks.nets import UNet\n\n\n"
        "class Net(UNet):\n"
        "    def forward(self, x):\n"
        "        from scripts.factor import FACTOR\n\n"
        "        return super().forward(x).roll(FACTOR, 1)\n"
    )
    return place


def test_bundles_with_scripts_of_one_name_serve_side_by_side_and_leave_no_trace(tiny, scan, tmp_path):
    config = made.inference(target="scripts.net.Net")
    places = [scripts(made.write_bundle(tmp_path / f"b{n}", config=config), n) for n in (1, 2)]
    before, path = [files_in(place) for place in places], list(sys.path)
    tasks = [task_of(place) for place in places]
    plain = tiny.perform(image=scan)["segmentation"].volume.array
    for _ in range(2):
        for number, task in enumerate(tasks, start=1):
            found = task.perform(image=scan)["segmentation"].volume.array
            assert np.array_equal(found, (plain + number) % 3)
    assert not [name for name in sys.modules if name.startswith("scripts")]
    assert sys.path == path
    assert [files_in(place) for place in places] == before


def test_a_bundle_that_hides_another_package_is_refused_by_its_name(tmp_path):
    place = made.write_bundle(tmp_path / "tiny")
    (place / "json").mkdir()
    (place / "json/__init__.py").touch()
    with pytest.raises(FolderRefused, match=r"^tiny: its own Python package 'json' has the name of one"):
        task_of(place)


def test_a_folder_that_hides_nothing_may_have_another_packages_name(scan, tmp_path):
    place = made.write_bundle(tmp_path / "tiny")
    (place / "json").mkdir()
    (place / "json/convert.py").touch()
    task_of(place).perform(image=scan)
    assert sys.modules["json"] is json


def test_an_exhausted_memory_is_told_as_such_from_within_a_transform(scan, tmp_path):
    code = "(_ for _ in ()).throw(torch.OutOfMemoryError('CUDA out of memory'))"
    after = {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {code}"}
    with pytest.raises(torch.OutOfMemoryError):
        task_of(changed(tmp_path, after)).perform(image=scan)


def test_flags_random_numbers_and_environment_are_put_back(scan, tmp_path):
    spoil = (
        "monai.utils.set_determinism(seed=7, use_deterministic_algorithms=True), os.environ.update(TOMAAT_SPOILT='1'), "
        "torch.set_default_dtype(torch.float64), os.chdir('/')"
    )
    after = {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: ({spoil}, x)[-1]"}
    place = changed(tmp_path, after, device=f"$({spoil}, 'cpu')[-1]", network=f"$({spoil}, @network_def.float())[-1]")
    torch.backends.cudnn.benchmark = True
    flags = flags_now()
    try:
        task = task_of(place)
        assert flags_now() == flags
        task.perform(image=scan)
        assert flags_now() == flags
    finally:
        torch.backends.cudnn.benchmark = False


def flags_now():
    return (
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
        tuple(torch.get_rng_state().tolist()),
        tuple(np.random.get_state()[1].tolist()),  # noqa: NPY002 (the state that MONAI seeds)
        random.getstate(),
        dict(os.environ),
        Path.cwd(),
    )


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("$torch.hub.load_state_dict_from_url('https://localhost/x.pt')", r"must not reach the network"),
        ("$open(@bundle_root + '/cached.txt', 'w')", r"must not write into its folder: .*cached\.txt"),
        ("$os.mkdir(@bundle_root + '/eval')", r"must not change its folder: os\.mkdir"),
        ("$os.fork()", r"must not start processes"),
        ("$(print('from the bundle'), exit(3))", r"its code ended the program, sys\.exit\(3\)"),
        ("$__import__('nowhere_to_be_found')", r"No module named 'nowhere_to_be_found'\. Install that package"),
        ("$[1]", r"evaluator#network is list, no network of torch"),
    ],
)
def test_code_that_leaves_its_walls_is_refused(network, reason, tmp_path, capsys):
    place = changed(tmp_path, network=network)
    before = files_in(place)
    with pytest.raises(FolderRefused, match=reason):
        task_of(place)
    assert files_in(place) == before
    assert capsys.readouterr().out == ""


def test_a_ticket_starts_no_pool_of_processes_and_writes_nothing_into_the_folder(scan, tmp_path):
    for code in ("list(torch.utils.data.DataLoader([1, 2], num_workers=1))", "open(@bundle_root + '/x', 'a')"):
        after = {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: ({code}, x)[-1]"}
        task = task_of(changed(tmp_path, after, name=f"b{len(code)}"))
        before = files_in(task.place)
        with pytest.raises(RuntimeError) as error:
            task.perform(image=scan)
        assert "the bundle's code must not" in causes(error.value)
        assert files_in(task.place) == before


def test_the_device_is_the_workers_whatever_the_configuration_says(scan, tmp_path):
    place = changed(tmp_path, device="$torch.device('cuda:7')")
    config = json.loads((place / "configs/inference.json").read_text())
    config["inferer"].update(sw_device="cuda:7", device="$torch.device('cuda:7')")
    (place / "configs/inference.json").write_text(json.dumps(config))
    task = task_of(place)
    assert {each.device.type for each in task.bundle.network.parameters()} == {"cpu"}
    assert task.perform(image=scan)["segmentation"].volume.array.any()


def test_loaders_with_a_reader_of_their_own_and_channels_at_the_end_are_followed(tmp_path, reader):
    config = made.inference(2)
    loader, channels = config["preprocessing"]["transforms"][:2]
    loader["reader"] = "ITKReader"  # which is not installed
    channels["channel_dim"] = -1  # as of a file of four dimensions
    task = task_of(made.write_bundle(tmp_path / "other", config=config, channels=2))
    plain = task_of(made.write_bundle(tmp_path / "plain", channels=2))
    files = [made.write_image(tmp_path / f"{n}.nii.gz", seed=n) for n in range(2)]
    found, wanted = (each.perform(**volumes_of(each, files, reader))["segmentation"] for each in (task, plain))
    assert np.array_equal(found.volume.array, wanted.volume.array)


def test_channels_that_are_loaded_one_by_one_are_given_by_their_names(tmp_path, reader):
    config = made.inference(2)
    before = config["preprocessing"]["transforms"]
    for transform in before[:2]:
        transform["keys"] = ["T2", "T1"]
    before.insert(2, {"_target_": "ConcatItemsd", "keys": ["T1", "T2"], "name": "image"})
    task = task_of(made.write_bundle(tmp_path / "other", config=config, channels=2))
    plain = task_of(made.write_bundle(tmp_path / "plain", channels=2))
    files = [made.write_image(tmp_path / f"{n}.nii.gz", seed=n) for n in range(2)]
    found, wanted = (each.perform(**volumes_of(each, files, reader))["segmentation"] for each in (task, plain))
    assert np.array_equal(found.volume.array, wanted.volume.array)


def test_a_result_that_is_not_inverted_lies_where_it_belongs(scan, tmp_path):
    config = made.inference()
    config["postprocessing"]["transforms"].pop(1)
    place = made.write_bundle(tmp_path / "tiny", config=config)
    file = made.write_image(tmp_path / "scan.nii.gz", affine=AFFINES["oblique"])
    found = task_of(place).perform(image=scan)["segmentation"]
    [wanted] = made.run_by_monai(place, [file], tmp_path / "out")
    assert np.array_equal(found.volume.array, wanted)
    assert found.volume.array.shape != scan.array.shape
    [written] = (tmp_path / "out").rglob("*.nii.gz")
    x, y, z = found.volume.to_physical((3, 4, 5))
    assert nibabel.affines.apply_affine(nibabel.load(written).affine, (3, 4, 5)) == pytest.approx((-x, -y, z), abs=1e-3)
