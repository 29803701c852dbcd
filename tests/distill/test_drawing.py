"""Pictures of sets: labels, before and after, film strips and animations."""

from dataclasses import replace

import matplotlib.text
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from distill import Identity, InputError, SyntheticSet
from distill.sets.drawing import label_cases, plot_before_after, plot_evolution, plot_labels, save_gif
from distill.sets.synthetic import initial_labels

CLASSES = tuple(f"class_{i}" for i in range(12))
DRAWERS = {
    "labels": lambda made, path: plot_labels(made, path),
    "before and after": lambda made, path: plot_before_after(made, made, path),
    "evolution": lambda made, path: plot_evolution([made, made], [0, 1], path),
    "gif": lambda made, path: save_gif([made, made], [0, 1], path.with_suffix(".gif")),
}
drawers = pytest.mark.parametrize("draw", DRAWERS.values(), ids=DRAWERS)


def a_set(class_ids=tuple(range(12)), *, classes=CLASSES, shape=(3, 8, 8), seed=0, learned=True):
    ids = torch.tensor(class_ids, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(len(ids), *shape, generator=generator)
    labels = initial_labels(ids, len(classes))
    if learned:
        labels = labels + 0.1 * torch.randn(labels.shape, generator=generator)
    return SyntheticSet(images, labels, ids, classes, Identity())


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved."""
    saved = []
    save = Figure.savefig

    def keep(self, *args, **options):
        saved.append(self)
        return save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def pictures(figure):
    return [image.get_array() for axes in figure.get_axes() for image in axes.get_images()]


def size(path):
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def frames(path):
    with Image.open(path) as picture:
        found = []
        for i in range(picture.n_frames):
            picture.seek(i)
            found.append((np.asarray(picture.convert("RGB")).astype(int), picture.info["duration"]))
        return found


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@drawers
@pytest.mark.parametrize(
    "made",
    [
        a_set(),
        a_set(shape=(1, 8, 8)),
        a_set(learned=False),
        a_set((0, 0), classes=("only",)),
        a_set((5,)),
        a_set((3, 3, 3, 7)),
        a_set((0, 1), classes=("$\\oops$", "a very_long name of a class that nobody can read")),
        a_set(shape=(3, 8, 12)),
    ],
    ids=["rgb", "grey", "not learned", "one class", "one image", "uneven", "names", "wide"],
)
def test_any_set_is_drawn_whole_and_nothing_else_is_left(draw, made, tmp_path):
    path = draw(made, tmp_path / "new" / "p.png")
    assert list(path.parent.iterdir()) == [path]
    assert min(size(path)) > 60


@drawers
def test_empty_set_is_refused(draw, tmp_path):
    with pytest.raises(InputError, match="cannot draw a set of 0 images"):
        draw(a_set().subset(torch.zeros(12, dtype=torch.bool)), tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


@drawers
def test_write_that_fails_leaves_nothing_behind(draw, tmp_path, monkeypatch):
    def fail(self, file, *args, **options):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    monkeypatch.setattr("PIL.Image.Image.save", fail)
    with pytest.raises(InputError, match=r"cannot write .*p\.(png|gif): No space left on device"):
        draw(a_set(), tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda s: plot_labels(s, "p.gif"), "cannot draw p.gif; expected a name that ends in .png, .pdf, .svg, .jpg"),
        (lambda s: plot_labels(s, "p.png", examples=0), "examples is 0; expected 1 or more"),
        (lambda s: plot_before_after(s, s, "p"), "cannot draw p; expected"),
        (lambda s: plot_before_after(s, s, "p.png", images_per_class=0), "images_per_class is 0; expected 1 or more"),
        (lambda s: plot_before_after(s, s, "p.png", max_classes=0), "max_classes is 0; expected 1 or more"),
        (lambda s: plot_evolution([s], [0], "p.gif"), "cannot draw p.gif; expected"),
        (lambda s: plot_evolution([s], [0], "p.png", images=0), "images is 0; expected 1 or more"),
        (lambda s: plot_evolution([s], [0, 1], "p.png"), "1 sets and 2 steps were given; expected one step for each"),
        (lambda s: save_gif([], [], "p.gif"), "0 sets and 0 steps were given"),
        (lambda s: save_gif([s], [0], "p.png"), "cannot draw p.png; expected a name that ends in .gif"),
        (lambda s: save_gif([s], [0], "p.gif", seconds_per_frame=0), "seconds_per_frame is 0; expected 0.01 to 60"),
        (lambda s: save_gif([s], [0], "p.gif", scale=0), "scale is 0; expected 1 or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        draw(a_set())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "other", [a_set((0, 1)), a_set(tuple(reversed(range(12)))), a_set(shape=(3, 4, 4)), a_set(classes=(*CLASSES, "x"))],
    ids=["fewer", "order", "shape", "classes"],
)
def test_sets_that_hold_other_images_are_refused(other, tmp_path):
    for draw in (lambda: plot_before_after(a_set(), other, tmp_path / "p.png"),
                 lambda: plot_evolution([a_set(), other], [0, 1], tmp_path / "p.png"),
                 lambda: save_gif([a_set(), other], [0, 1], tmp_path / "p.gif")):
        with pytest.raises(InputError, match="hold different images; expected one set at different steps"):
            draw()


@pytest.fixture
def drawn_texts(monkeypatch):
    """Where each text was drawn, as a part of the picture's width and height."""
    boxes = []
    draw = matplotlib.text.Text.draw

    def record(self, renderer, *args, **options):
        if self.get_text() and self.get_visible():
            box, figure = self.get_window_extent(renderer), self.get_figure(root=True)
            boxes.append((figure, self.get_text(), box.transformed(figure.transFigure.inverted())))
        return draw(self, renderer, *args, **options)

    monkeypatch.setattr(matplotlib.text.Text, "draw", record)
    return boxes


@pytest.mark.slow
@pytest.mark.parametrize("names", ["{}", "a_very_long_name_of_the_class_number_{}"], ids=["short", "long"])
@pytest.mark.parametrize("n", [1, 4, 12])
def test_no_text_is_cut_off_or_lies_on_another(names, n, tmp_path, drawn_texts):
    made = a_set(tuple(range(n)), classes=tuple(names.format(i) for i in range(12)))
    few = a_set(tuple(i % 2 for i in range(n)), classes=made.classes[:2])
    for synthetic in (made, few):
        plot_labels(synthetic, tmp_path / "p.png")
        plot_before_after(synthetic, synthetic, tmp_path / "p.png", images_per_class=2, max_classes=4)
        plot_evolution([synthetic] * n, [500_000 + i for i in range(n)], tmp_path / "p.png", images=3)
    for i, (figure, text, box) in enumerate(drawn_texts):
        assert min(box.x0, box.y0) > -0.003, text
        assert max(box.x1, box.y1) < 1.003, text
        for other, text_of_other, box_of_other in drawn_texts[:i]:
            assert other is not figure or not box.overlaps(box_of_other) or text == text_of_other, (text, text_of_other)


# -- labels ------------------------------------------------------------------------------------------------------------


def test_cases_are_those_of_the_definition():
    labels = torch.tensor([
        [0.9, 0.0, 0.0],  # high, large margin
        [0.8, 0.7, 0.0],  # high, small margin
        [0.2, 0.1, 0.0],  # low, small margin
        [0.7, 0.3, 0.0],
        [0.5, 0.1, 0.0],
        [0.3, 0.0, 0.2],
    ])
    assert label_cases(labels, 1) == [[0], [1], [2]]
    assert label_cases(labels, 2) == [[0, 3], [1, 4], [2, 5]]
    assert label_cases(labels, 9) == label_cases(labels, 2)


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("examples", [1, 3])
def test_no_image_is_drawn_twice_and_no_case_is_empty(n, examples):
    rows = label_cases(a_set(tuple(range(n))).labels, examples)
    drawn = [i for row in rows for i in row]
    assert len(drawn) == len(set(drawn)) == min(n, 3 * max(1, min(examples, n // 3)))
    assert all(rows)
    assert len({len(row) for row in rows}) == 1


def test_labels_that_were_never_learned_come_in_the_order_of_the_set(tmp_path, figures):
    made = a_set(learned=False)
    assert label_cases(made.labels, 2) == [[0, 1], [2, 3], [4, 5]]
    plot_labels(made, tmp_path / "p.png")
    assert not any("confidence" in text for text in texts(figures[0]))
    assert any("all labels are equally confident" in text for text in texts(figures[0]))


@pytest.mark.parametrize(("classes", "bars"), [(12, 5), (10, 10), (2, 2)])
def test_bars_are_the_largest_values_in_order_and_the_own_class_is_darker(tmp_path, figures, classes, bars):
    made = a_set(tuple(range(classes)), classes=CLASSES[:classes])
    plot_labels(made, tmp_path / "p.png", examples=1)
    position = label_cases(made.labels, 1)[0][0]
    axes = next(axes for axes in figures[0].get_axes() if axes.patches)
    label = made.labels[position]
    order = label.argsort(descending=True)[:bars].tolist()
    assert [patch.get_width() for patch in axes.patches] == pytest.approx(label[order].tolist())
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"class {i}" for i in order]
    dark = [patch.get_facecolor()[0] < 0.3 for patch in axes.patches]
    assert dark == [i == int(made.class_ids[position]) for i in order]


def test_labels_plot_has_three_rows_of_examples_with_their_images(tmp_path, figures):
    made = a_set()
    small = size(plot_labels(made, tmp_path / "p.png", examples=1))
    large = size(plot_labels(made, tmp_path / "p.png", examples=3))
    assert small[0] < large[0]
    assert abs(small[1] - large[1]) < 30
    shown = [i for row in label_cases(made.labels, 3) for i in row]
    assert all(np.array_equal(a, made.pixels()[i]) for a, i in zip(pictures(figures[1]), shown, strict=True))
    assert sum("confidence" in text for text in texts(figures[1])) == 3


def test_names_too_long_keep_their_start_and_their_end(tmp_path, figures):
    plot_labels(a_set((0,), classes=("a_long_name_of_the_class_number_1",)), tmp_path / "p.png")
    assert "a long name o…number 1" in texts(figures[0])


# -- before and after, evolution ---------------------------------------------------------------------------------------


def test_before_and_after_show_the_same_images_of_both_sets(tmp_path, figures):
    before, after = a_set((2, 0, 2, 0, 2)), a_set((2, 0, 2, 0, 2), seed=1)
    plot_before_after(before, after, tmp_path / "p.png", images_per_class=2)
    shown = {np.asarray(picture).tobytes() for picture in pictures(figures[0])}
    wanted = [1, 3, 0, 2]  # class 0, then class 2
    assert shown == {made.pixels()[i].numpy().tobytes() for made in (before, after) for i in wanted}
    assert {"before", "after", "class 0", "class 2"} <= set(texts(figures[0]))


def test_before_and_after_grow_with_classes_and_images(tmp_path):
    made = a_set((0, 0, 1, 1, 2, 2))
    few = size(plot_before_after(made, made, tmp_path / "p.png", max_classes=1, images_per_class=1))
    tall = size(plot_before_after(made, made, tmp_path / "p.png", images_per_class=1))
    wide = size(plot_before_after(made, made, tmp_path / "p.png", max_classes=1))
    assert tall[1] > few[1]
    assert tall[0] == few[0]
    assert wide[0] > few[0]
    assert wide[1] == few[1]


def test_film_strip_has_a_column_for_each_step_and_a_row_for_each_class(tmp_path, figures):
    sets = [a_set(seed=seed) for seed in range(3)]
    plot_evolution(sets, [0, 1000, 500_000], tmp_path / "p.png", images=4)
    assert {"0", "1 000", "500 000", "class 0", "class 3", "class 6", "class 9"} <= set(texts(figures[0]))
    drawn = pictures(figures[0])
    wanted = [made.pixels()[i].numpy() for i in (0, 3, 6, 9) for made in sets]
    assert all(np.array_equal(a, b) for a, b in zip(drawn, wanted, strict=True))


def test_film_strip_takes_second_images_where_classes_run_out(tmp_path, figures):
    made = a_set((0, 0, 0, 1))
    plot_evolution([made], [7], tmp_path / "p.png", images=3)
    assert all(np.array_equal(a, made.pixels()[i]) for a, i in zip(pictures(figures[0]), (0, 1, 3), strict=True))


# -- animations --------------------------------------------------------------------------------------------------------


def test_gif_has_a_frame_for_each_set_with_its_step_and_plays_for_ever(tmp_path):
    same = a_set()
    path = save_gif([same, same, a_set(seed=1)], [0, 10, 20], tmp_path / "p.gif", seconds_per_frame=0.2)
    (first, wait), (second, _), (third, last) = frames(path)
    assert (wait, last) == (200, 600)
    grid, strip = slice(0, -28), slice(-28, None)
    assert np.abs(first[grid] - second[grid]).max() == 0  # the same images
    assert np.abs(first[strip] - second[strip]).max() > 100  # another step
    assert np.abs(second[grid] - third[grid]).max() > 100
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0


def test_gif_enlarges_pixels_without_smoothing_to_64_or_more(tmp_path):
    (frame, _), = frames(save_gif([a_set((0,))], [0], tmp_path / "p.gif"))
    image = frame[4:68, 4:68]
    blocks = image.reshape(8, 8, 8, 8, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert np.abs(blocks[:, 0, :, 0] - a_set((0,)).pixels()[0].numpy()).max() < 24  # 256 colours
    small = size(save_gif([a_set()], [0], tmp_path / "p.gif", scale=1))
    large = size(save_gif([a_set()], [0], tmp_path / "p.gif", scale=3))
    assert small < large


def test_gif_shows_at_most_so_many_images(tmp_path):
    made = a_set()
    assert size(save_gif([made], [0], tmp_path / "a.gif", images=4)) == size(
        save_gif([made.subset(torch.tensor([0, 3, 6, 9]))], [0], tmp_path / "b.gif"))


def test_gif_keeps_black_and_white_and_pure_colours(tmp_path):
    images = torch.zeros(4, 3, 8, 8)
    images[1], images[2, 0], images[3, 2] = 1, 1, 1
    made = replace(a_set((0, 1, 2, 3)), images=images)
    (frame, _), = frames(save_gif([made], [0], tmp_path / "p.gif"))
    for (row, column), colour in {(30, 30): (0, 0, 0), (30, 100): (255, 255, 255), (100, 30): (255, 0, 0),
                                  (100, 100): (0, 0, 255)}.items():
        assert frame[row, column].tolist() == pytest.approx(colour, abs=3)
