"""A network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnxruntime
import structlog
import torch

from tomaat.services.folders.onnx_data import demand_data_inside

log = structlog.get_logger()

TOO_NEW = re.compile("opset|IR version")  #: in onnxruntime's words on a file of a later one
TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}


class OnnxNetwork:
    """A network of one input and a first output; (1, c, i, j, k), float32, to (1, classes, i, j, k).

    It runs on the GPU where onnxruntime can use it, else on the CPU. Raises ``ValueError`` for another interface,
    ``FolderRefused`` for tensors that lie outside of the folder, and errors of onnxruntime for what is no ONNX file. On
    a GPU onnxruntime uses the CUDA libraries that torch has loaded.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        self.device = device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_cpu_mem_arena = False  # it would keep the largest ticket's memory, and is no faster
        options.log_severity_level = 3  # errors; a missing provider is logged below
        options.add_session_config_entry("session.load_model_format", "ONNX")  # whatever the file looks like
        demand_data_inside(file)  # no option names other files; kernels of another library are not registered
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=providers_for(device))
        except Exception as error:
            reason = reason_of(error)
            if TOO_NEW.search(reason):
                raise ValueError(f"{reason.rstrip('.')}; export it with a lower opset_version") from error
            raise
        if device.type == "cuda" and self.session.get_providers()[0] == "CPUExecutionProvider":
            log.warning("onnx.on_cpu", file=file.name, remedy="install the onnxruntime-gpu that fits torch's CUDA")
        wanted = self.session.get_inputs()
        if len(wanted) != 1:
            names = ", ".join(each.name for each in wanted)
            raise ValueError(f"it has the inputs {names}; export it with one, of all channels")
        if wanted[0].type not in TYPES:
            raise ValueError(f"its input is {wanted[0].type}; export it with an input of floats")
        self.name, self.dtype = wanted[0].name, TYPES[wanted[0].type]
        given = self.session.get_outputs()[0]
        self.output = given.name
        #: channels of its output; ``None`` where the file does not say
        self.gives = given.shape[1] if len(given.shape) > 1 and isinstance(given.shape[1], int) else None
        #: of its input; ``None`` where any size will do
        self.shape = tuple(size if isinstance(size, int) else None for size in wanted[0].shape)

    def __call__(self, channels: torch.Tensor) -> torch.Tensor:
        """Run the network; float32, on the device."""
        voxels = channels.to("cpu", self.dtype).contiguous().numpy()
        (given,) = self.session.run([self.output], {self.name: voxels})
        return torch.from_numpy(given).to(self.device, torch.float32)


def reason_of(error: Exception) -> str:
    """Give the last sentences of onnxruntime's words, without the places in its own code and the path of the file."""
    told = re.sub(r"^.*? failed:", "", str(error), flags=re.DOTALL)
    return re.sub(r"^\S*onnxruntime_src\S+ .*\) (?=[A-Z])", "", told, flags=re.DOTALL).strip()


def providers_for(device: torch.device) -> list[Any]:
    """Choose the providers that onnxruntime tries, in turn."""
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]
