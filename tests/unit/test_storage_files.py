import hashlib

from tomaat.storage.files import CHUNK_BYTES, sha256_of, size_of


def test_a_file_is_hashed_to_its_end(tmp_path):
    file = tmp_path / "file"
    for content in (b"", b"x", b"y" * (CHUNK_BYTES + 1)):
        file.write_bytes(content)
        assert sha256_of(file) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_folder_counts_as_all_files_in_it_one_behind_the_other_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "weights").write_bytes(b"23")
    (tmp_path / "a").write_bytes(b"1")
    assert sha256_of(tmp_path) == (hashlib.sha256(b"123").hexdigest(), 3)
    assert size_of(tmp_path) == 3
    assert size_of(tmp_path / "a") == 1
