"""One's own picture: what is found is drawn and printed, and what is refused in one line."""

import dataclasses
import importlib

import numpy as np
import pytest
from PIL import Image

from common import checkpoint
from object_detection import coco, data, detect, drawing, images, parity, quality
from tests.object_detection import scenes

TINY = {"num_classes": 3, "pyramid_width": 8, "widths": (8, 8, 8), "stem_width": 8, "box_size": 16,
        "mask_width": 8, "mask_layers": 1, "mask_bins": 4, "detections": 5}  # fmt: skip


def save(folder, config=None, state=None, **changes):
    """A run folder with a checkpoint of a tiny network; its path."""
    config = config or scenes.own("", **TINY, application="object_detection")
    fields = dataclasses.asdict(config) | changes
    checkpoint.save(str(folder / "checkpoint"), state or {}, {"step": 3, "config": fields})
    return str(folder)


def test_what_is_found_is_drawn(framework, folder, tmp_path, capsys):
    name = framework.__name__.rpartition(".")[2]
    config = data.prepare(scenes.own(folder, **TINY, application="object_detection"))
    framework.start(config)
    train = importlib.import_module(f"object_detection.{name}.train")
    values = parity.initial_parameters(config)
    values["box_head.classes.bias"] += np.array([-9.0, 0.0, 2.0, 0.0], np.float32)  # it is sure
    trainer = train.Trainer(config, values)
    picture = str(folder / "val2017" / "000000000010.jpg")
    batch = data.own_batch(dataclasses.replace(config, eval_batch_size=1), picture)
    [found] = quality.compare(trainer.predict(batch), batch)
    sure = found.scores >= drawing.LEAST_SCORE
    assert sure.any()
    labels = coco.load(config, "test").labels
    assert detect.labels_of(config) == labels == ("dog", "cat", "egg")
    expected = drawing.drawn(images.read_image(picture), found, labels)
    run = save(tmp_path / "run", config, trainer.state(), seed=config.seed + 1)
    for path in (run, checkpoint.path(f"{run}/checkpoint", 3)):
        output = tmp_path / "found.png"
        assert detect.main([name, path, picture, str(output)]) == 0
        assert np.array_equal(np.asarray(Image.open(output)), np.asarray(expected))
        output.unlink()
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[1] for line in lines] == [labels[n - 1] for n in found.classes[sure]]
        assert [float(line.split()[0]) for line in lines] == pytest.approx(
            found.scores[sure].tolist(), abs=6e-4)


def test_classes_of_a_damaged_index_have_numbers(folder):
    config = data.prepare(scenes.own(folder))
    assert detect.labels_of(config) == ("dog", "cat", "egg")
    (folder / config.index / "test.json").write_text("{")
    coco.load_from.cache_clear()
    assert detect.labels_of(config) == ["class 1", "class 2", "class 3"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage: python -m object_detection.detect FRAMEWORK CHECKPOINT PICTURE PNG"),
        (["mxnet", "{run}", "{picture}", "{png}"], "FRAMEWORK is one of pytorch, tensorflow"),
        (["pytorch", "{run}", "{picture}"], "usage"),
        (["pytorch", "{run}", "{picture}", "{png}", "{png}"], "usage"),
        (["pytorch", "{tmp}/nothing", "{picture}", "{png}"], "nothing: no checkpoint. Name a file"),
        (["pytorch", "{picture}", "{picture}", "{png}"], "a.jpg: damaged"),
        (["pytorch", "{other}", "{picture}", "{png}"], "a checkpoint of 'translation'"),
        (["pytorch", "{wrong}", "{picture}", "{png}"], "expected as many of each"),
        (["pytorch", "{run}", "{tmp}/b.jpg", "{png}"], "b.jpg: no such file"),
        (["pytorch", "{run}", "{text}", "{png}"], "c.txt: damaged image"),
        (["pytorch", "{run}", "{picture}", "{picture}"], "a.jpg: is read, so it is not written"),
        (["pytorch", "{run}", "{picture}", "{tmp}/link"], "link: is read, so it is not written"),
    ],
)
def test_what_is_refused_in_one_line(tmp_path, capsys, arguments, words):
    names = {name: str(tmp_path / file) for name, file in {
        "tmp": "", "picture": "a.jpg", "text": "c.txt", "png": "d.png"}.items()}
    Image.fromarray(scenes.noise(60, 80)).save(names["picture"])
    (tmp_path / "c.txt").write_text("a cat\n")
    (tmp_path / "link").symlink_to("a.jpg")
    names["run"] = save(tmp_path / "run")
    names["other"] = save(tmp_path / "other", application="translation")
    names["wrong"] = save(tmp_path / "wrong", widths=[8])
    assert detect.main([part.format(**names) for part in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
