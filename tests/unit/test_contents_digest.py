import hashlib
import subprocess

import pytest

from tomaat.contents.digest import CHUNK_BYTES, sha256_of, sha256_of_weights, size_of


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    (made / "b").mkdir(parents=True)
    (made / "b" / "weights").write_bytes(b"23")
    (made / "a b").write_bytes(b"1")
    return made


def test_a_file_is_hashed_to_its_end(tmp_path):
    file = tmp_path / "file"
    for content in (b"", b"x", b"y" * (CHUNK_BYTES + 1)):
        file.write_bytes(content)
        assert sha256_of(file) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_folder_counts_as_all_files_in_it_one_behind_the_other_in_the_order_of_their_names(folder):
    assert sha256_of(folder) == (hashlib.sha256(b"123").hexdigest(), 3)
    assert size_of(folder) == 3
    assert size_of(folder / "a b") == 1


def test_of_weights_the_names_count_too_as_in_the_lines_of_sha256sum(folder):
    command = "find -L . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    said = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert sha256_of_weights(folder) == said.split()[0]
    assert sha256_of_weights(folder / "a b") == hashlib.sha256(b"1").hexdigest()
    (folder / "a b").rename(folder / "a c")
    assert sha256_of_weights(folder) != said.split()[0]
