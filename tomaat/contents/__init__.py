"""Files and folders as they lie on a disk: their SHA-256, their size, and the folder of a trained network."""
