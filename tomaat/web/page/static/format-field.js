/** The choice of the format in which volumes come back; docs/protocol.md explains each one. */

import { make } from "./dom.js";
import { makeFrame } from "./fields.js";

const FORMATS = {
  "nii.gz": "NIfTI (.nii.gz)",
  nrrd: "NRRD (.nrrd)",
  mha: "MetaImage (.mha)",
  "seg.nrrd": "Segmentation for 3D Slicer (.seg.nrrd)",
  "dicom-seg": "DICOM Segmentation (.dcm)",
}; // the first is the server's default
const [UNASKED] = Object.keys(FORMATS);
const DICOM_SEG = "dicom-seg";

export function makeFormatField() {
  const options = Object.entries(FORMATS).map(([format, name]) => make("option", { value: format }, name));
  const box = make("select", {}, ...options);
  const frame = makeFrame(
    "result-format",
    { element: box, target: box },
    { name: ["Result format"], kind: "format", hint: "The format of the volumes in the result." },
  );
  return {
    element: frame.element,
    /**
     * The `outputs` of `main.json`, unless the server's default is chosen.
     * @param {boolean} hasDicom whether a DICOM series is sent
     * @returns {{outputs?: {format: string}, fault?: string}}
     */
    read(hasDicom) {
      frame.clear();
      if (box.value === DICOM_SEG && !hasDicom) {
        const fault = "It refers to DICOM images: send a DICOM folder or a .zip of one, or choose another format.";
        frame.refuse(fault);
        return { fault };
      }
      return box.value === UNASKED ? {} : { outputs: { format: box.value } };
    },
  };
}
