import hashlib

from tomaat.storage.files import CHUNK_BYTES, sha256_of


def test_a_file_is_hashed_to_its_end(tmp_path):
    file = tmp_path / "file"
    for content in (b"", b"x", b"y" * (CHUNK_BYTES + 1)):
        file.write_bytes(content)
        assert sha256_of(file) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_folder_is_hashed_as_its_files_one_behind_the_other_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    assert sha256_of(tmp_path) == (hashlib.sha256(b"12").hexdigest(), 2)
