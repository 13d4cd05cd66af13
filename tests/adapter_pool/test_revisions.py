"""Earlier revisions: what is kept, the way back, and that a kill at any moment loses nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from assistant.adapter_pool import loader
from assistant.adapter_pool.intake import Intake
from assistant.adapter_pool.loader import Loader
from assistant.adapter_pool.revisions import FOLDER, MOST_KEPT, Revisions
from assistant.base_model import load_base
from assistant.catalog import CONFIG_FILE, Catalog
from assistant.errors import AdapterBroken, NotFound, UnknownAdapter
from tests import tiny
from tests.engine.harness import Bench
from tests.fakes import write_adapter


class Killed(BaseException):
    """Nothing catches it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapters" / "mood", fill=0.1)
    return tmp_path / "adapters"


def arrive(folder: Path, fill: float) -> str:
    """A new revision of "mood"; returns its digest."""
    staged = write_adapter(folder / ".incoming-x" / "mood", fill=fill)
    Revisions(folder).swap_in("mood", staged)
    shutil.rmtree(folder / ".incoming-x")
    return digest(folder)


def digest(folder: Path) -> str:
    return Catalog(folder).get("mood").digest


def test_what_is_replaced_is_kept_newest_first_and_is_no_adapter_of_the_catalogue(folder: Path) -> None:
    first = digest(folder)
    second = arrive(folder, 0.2)
    arrive(folder, 0.3)
    kept = Revisions(folder).kept("mood")
    assert [one.digest for one in kept] == [second, first] and kept[0].adapter.name == "mood"
    assert kept[0].replaced_at.tzinfo is not None
    assert [adapter.name for adapter in Catalog(folder).adapters()] == ["mood"]


def test_only_the_last_few_are_kept_and_the_same_content_once(folder: Path) -> None:
    served = [digest(folder), *(arrive(folder, fill) for fill in (0.2, 0.3, 0.4, 0.5, 0.6))]
    assert [one.digest for one in Revisions(folder).kept("mood")] == served[-2 : -2 - MOST_KEPT : -1]
    assert arrive(folder, 0.6) == served[-1]
    assert served[-1] not in [one.digest for one in Revisions(folder).kept("mood")]
    assert len(list((folder / FOLDER / "mood").iterdir())) == MOST_KEPT
    assert [path.name for path in (folder / FOLDER).iterdir()] == ["mood"], "what was surplus is gone from the disk"


def test_a_revision_is_found_by_the_beginning_of_its_digest(folder: Path) -> None:
    first = digest(folder)
    second = arrive(folder, 0.2)
    arrive(folder, 0.3)
    revisions = Revisions(folder)
    assert revisions.find("mood").digest == second and revisions.find("mood", first[:8]).digest == first
    with pytest.raises(NotFound, match=f"no earlier revision 'ffffff'; kept: {second[:12]}, {first[:12]}"):
        revisions.find("mood", "ffffff")


def test_a_broken_adapter_is_replaced_and_not_kept(folder: Path) -> None:
    (folder / "mood" / CONFIG_FILE).write_text("{")
    arrive(folder, 0.2)
    assert Revisions(folder).kept("mood") == []


@pytest.mark.parametrize("moment", ["between the renames", "before the surplus goes"])
def test_a_kill_in_a_swap_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    before = [arrive(folder, fill) for fill in (0.2, 0.3, 0.4, 0.5)]
    rename = Path.rename

    def die(path: Path, target: Path) -> Path:
        if moment == "between the renames" and target == folder / "mood":
            raise Killed
        return rename(path, target)

    def no_prune(self: Revisions, name: str) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", die)
        if moment == "before the surplus goes":
            patched.setattr(Revisions, "_prune", no_prune)
        with pytest.raises(Killed):
            arrive(folder, 0.6)
    recovered = Revisions(folder).recover()
    if moment == "between the renames":
        assert recovered == ["mood"] and digest(folder) == before[-1]
    else:
        assert recovered == [] and digest(folder) not in before
        assert Revisions(folder).kept("mood")[0].digest == before[-1]
    assert Revisions(folder).recover() == []


def test_a_disk_that_refuses_leaves_what_was_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, rename = digest(folder), Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.parent.name == ".incoming-x":
            raise OSError("no space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no space"):
        arrive(folder, 0.2)
    assert digest(folder) == served and Revisions(folder).kept("mood") == []


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def sources(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    return [tiny.write_adapter(folder / f"v{seed}", base, tiny.lora_config(), seed) for seed in (1, 2)]


@pytest.fixture
def intake(base: Path, tmp_path: Path) -> Iterator[Intake]:
    loaded = load_base(str(base), "float32", tmp_path)
    yield Intake(Catalog(tmp_path / "adapters"), Loader(loaded), lambda: loaded.model, 200_000)


def test_going_back_is_a_swap_and_can_itself_be_undone(intake: Intake, sources: list[Path]) -> None:
    first, second = (intake.admit(source, "mood").digest for source in sources)
    assert intake.revert("mood").digest == first == intake.catalog.get("mood").digest
    assert [one.digest for one in intake.revisions("mood")] == [second]
    assert intake.revert("mood", second[:10]).digest == second


def test_requests_that_wait_through_a_swap_are_answered_by_the_revision_they_asked_for(
    intake: Intake, base: Path, sources: list[Path]
) -> None:
    """One runs and two wait, as draws of a best-of-n do: none of those holds the old revision."""
    first = intake.admit(sources[0], "mood")
    alone = [tiny.peft_answer(base, source, [72, 101], 6) for source in sources]
    assert alone[0] != alone[1]
    bench = Bench(base, max_batch=1)
    old = [bench.submit([72, 101], first, 6) for _ in range(3)]
    while not old[0].ids:
        bench.step()
    second = intake.admit(sources[1], "mood")
    bench.pool.retire("mood", keep=second.digest)
    new = bench.submit([72, 101], second, 6)
    bench.run()
    assert [answer.ids for answer in (*old, new)] == [alone[0]] * 3 + [alone[1]]
    assert all(answer.finished for answer in (*old, new))
    bench.close()


@pytest.mark.parametrize("moment", ["before", "while"])
def test_a_revision_is_read_from_where_a_swap_has_put_it(
    intake: Intake, base: Path, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    wider = tiny.write_adapter(tmp_path / "wider", base, tiny.lora_config(r=8), 3)
    first = intake.admit(sources[0], "mood")
    reader, read = intake._loader, loader.read_tensors
    size, weights = reader.size_of(first), reader.load(first)

    def swapped_meanwhile(path: Path) -> dict[str, Tensor]:
        monkeypatch.setattr(loader, "read_tensors", read)
        intake.admit(wider, "mood")
        return read(path)

    if moment == "while":
        monkeypatch.setattr(loader, "read_tensors", swapped_meanwhile)
    else:
        intake.admit(wider, "mood")
    again = reader.load(first)
    name, change = next(iter(weights.layers.items()))
    assert torch.equal(again.layers[name].low_rank.a, change.low_rank.a) and reader.size_of(first) == size
    intake.revert("mood")
    assert torch.equal(reader.load(first).layers[name].low_rank.a, change.low_rank.a)


def test_a_revision_that_lies_nowhere_any_more_is_refused(intake: Intake, sources: list[Path], tmp_path: Path) -> None:
    first = intake.admit(sources[0], "mood")
    shutil.copytree(sources[1], intake.catalog.folder / "mood", dirs_exist_ok=True)
    with pytest.raises(AdapterBroken, match="'mood': its files changed"):
        intake._loader.load(first)


def test_a_broken_adapter_has_a_way_back(intake: Intake, sources: list[Path]) -> None:
    first, _ = (intake.admit(source, "mood").digest for source in sources)
    (intake.catalog.folder / "mood" / CONFIG_FILE).write_text("{")
    assert intake.revert("mood").digest == first


def test_deleting_takes_the_revisions_along(intake: Intake, sources: list[Path]) -> None:
    for source in sources:
        intake.admit(source, "mood")
    intake.delete("mood")
    assert not (intake.catalog.folder / FOLDER / "mood").exists() and Revisions(intake.catalog.folder).recover() == []
    with pytest.raises(UnknownAdapter):
        intake.revisions("mood")
    with pytest.raises(UnknownAdapter):
        intake.revert("..")


def test_a_swap_that_was_cut_off_is_put_right_at_the_start(intake: Intake, sources: list[Path]) -> None:
    for source in sources:
        intake.admit(source, "mood")
    served = intake.catalog.get("mood").digest
    place = intake.catalog.folder / FOLDER / "mood" / f"0009-20260101T000000Z-{served[:12]}"
    (intake.catalog.folder / "mood").rename(place)
    intake.recover()
    assert intake.catalog.get("mood").digest == served


def test_what_a_kill_left_in_staging_is_cleared_away_at_the_start_once_it_is_old(
    intake: Intake, sources: list[Path]
) -> None:
    for source in sources:
        intake.admit(source, "mood")
    folder = intake.catalog.folder
    old, fresh, doomed = folder / ".incoming-old", folder / ".incoming-fresh", folder / FOLDER / ".doomed-old"
    for left in (old, fresh, doomed):
        (left / "mood").mkdir(parents=True)
    for left in (old, doomed):
        os.utime(left, (0, 0))
    intake.recover()
    assert not old.exists() and not doomed.exists() and fresh.exists()
    assert len(intake.revisions("mood")) == 1 and intake.catalog.get("mood").is_usable


def test_a_disk_that_refuses_to_delete_leaves_adapter_and_revisions(
    intake: Intake, sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in sources:
        intake.admit(source, "mood")
    rename, adapter = Path.rename, intake.catalog.folder / "mood"

    def refuse(path: Path, target: Path) -> Path:
        if path == adapter:
            raise OSError("busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="busy"):
        intake.delete("mood")
    assert intake.catalog.get("mood").is_usable and len(intake.revisions("mood")) == 1
    assert not list(intake.catalog.folder.glob(".incoming-*"))


def test_a_revision_that_no_longer_fits_is_refused_and_todays_stays(intake: Intake, sources: list[Path]) -> None:
    for source in sources:
        intake.admit(source, "mood")
    served, kept = intake.catalog.get("mood").digest, intake.revisions("mood")[0].adapter.folder
    config = json.loads((kept / CONFIG_FILE).read_text())
    (kept / CONFIG_FILE).write_text(json.dumps({**config, "bias": "all"}))
    with pytest.raises(AdapterBroken, match="bias"):
        intake.revert("mood")
    assert intake.catalog.get("mood").digest == served
