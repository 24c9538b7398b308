"""Assets: read once, packed, and under an address that changes with them."""

import gzip

import pytest

from timmy_dvm.http.pages.shelf import Shelf


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.css").write_text("p { color: red }")
    (tmp_path / "secret.py").write_text("no")
    return tmp_path


def test_an_asset_is_there_as_it_is_and_packed(folder):
    asset = Shelf(folder).asset("a.css")
    assert asset.body == b"p { color: red }"
    assert gzip.decompress(asset.packed) == asset.body
    assert asset.media_type == "text/css; charset=utf-8"


def test_a_file_of_another_kind_is_not_served(folder):
    assert Shelf(folder).asset("secret.py") is None


def test_the_same_files_have_the_same_address_and_others_another(folder):
    before = Shelf(folder)
    assert Shelf(folder).folder == before.folder
    (folder / "a.css").write_text("p { color: blue }")
    after = Shelf(folder)
    assert after.folder != before.folder
    assert after.is_current(after.folder.rpartition("/")[2])
    assert not after.is_current(before.folder.rpartition("/")[2])


def test_a_sheet_is_read_by_its_name(folder):
    (folder / "p.html").write_text("<p>")
    shelf = Shelf(folder, folder)
    assert shelf.sheet("p") == "<p>"
    with pytest.raises(KeyError):
        shelf.sheet("a")
