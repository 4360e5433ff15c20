"""A copied data directory is what the storage tool would have made for that node."""

from stream_infer.embedded.storage import cluster_id, copy_formatted, is_formatted

META = "#\n#Mon Jan 01\ncluster.id=giMOAtXDTkuj1bfLRIhL6w\ndirectory.id=mTLC4z6A2XPw4P_W9UQXEA\nnode.id=1\nversion=1\n"


def test_only_node_and_directory_differ_in_a_copy(tmp_path):
    source, target = tmp_path / "1", tmp_path / "2"
    (source / "sub").mkdir(parents=True)
    (source / "meta.properties").write_text(META)
    (source / "sub" / "checkpoint").write_bytes(b"\x00\x01")
    assert not is_formatted(target)
    copy_formatted(source, target, 2)
    assert is_formatted(target)
    assert (target / "sub" / "checkpoint").read_bytes() == b"\x00\x01"
    before, after = META.splitlines(), (target / "meta.properties").read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [old for old, _ in changed] == ["directory.id=mTLC4z6A2XPw4P_W9UQXEA", "node.id=1"]
    assert changed[1][1] == "node.id=2"
    assert len(changed[0][1]) == len(changed[0][0])


def test_a_cluster_half_formatted_keeps_its_id(tmp_path):
    (tmp_path / "2").mkdir()
    directories = [tmp_path / "1", tmp_path / "2"]
    first, second = cluster_id(directories), cluster_id(directories)
    assert first != second
    assert len(first) == len(second) == 22
    (tmp_path / "2" / "meta.properties").write_text(META)
    assert cluster_id(directories) == "giMOAtXDTkuj1bfLRIhL6w"
