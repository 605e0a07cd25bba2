import hashlib
import subprocess

from tomaat.contents.digest import CHUNK_BYTES, sha256_of, size_of


def test_a_file_is_hashed_to_its_end(tmp_path):
    file = tmp_path / "file"
    for content in (b"", b"x", b"y" * (CHUNK_BYTES + 1)):
        file.write_bytes(content)
        assert sha256_of(file) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_folders_hash_is_that_of_the_lines_of_sha256sum_and_changes_with_a_name(tmp_path):
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "weights").write_bytes(b"23")
    (folder / "a b").write_bytes(b"1")
    command = "find -L . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    said = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert sha256_of(folder) == (said.split()[0], 3)
    assert size_of(folder) == 3
    assert size_of(folder / "a b") == 1
    (folder / "a b").rename(folder / "c")
    assert sha256_of(folder)[0] != said.split()[0]
