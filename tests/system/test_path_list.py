"""Lists of very many paths."""

from pathlib import Path

from tlcli.system.path_list import PathList, path_order

PATHS = [Path("b/2.png"), Path("a-b/1.png"), Path("a/1.png"), Path("a.b/c/3.png"), Path("/d/ä.png")]


def test_a_list_of_texts_is_a_sequence_of_paths():
    paths = PathList(PATHS)
    assert [*paths] == PATHS
    assert (paths[1], paths[-1], len(paths)) == (PATHS[1], PATHS[-1], 5)
    assert [*paths[1:3]] == PATHS[1:3]
    assert PATHS[2] in paths
    assert Path("a/2.png") not in paths
    assert not PathList()
    assert paths == PATHS == paths
    assert tuple(PATHS) == paths != PATHS[:4]


def test_paths_are_added_at_the_end_and_sorted_as_paths_sort():
    paths = PathList(PATHS[:2])
    paths.append(PATHS[2])
    paths.extend(PathList(PATHS[3:]))
    paths.sort()
    assert [*paths] == sorted(PATHS) != sorted(PATHS, key=str)


def test_paths_are_ordered_part_by_part():
    names = [
        "/a/b",
        "/a/b/c.jpg",
        "/a/b-c/d.jpg",
        "/a/b/c/d.jpg",
        "/a/B/c.jpg",
        "/a/b.c/d.jpg",
        "/a",
    ]
    paths = [Path(name) for name in names]
    assert sorted(paths, key=path_order) == sorted(paths) == sorted(paths, key=lambda p: p.parts)
