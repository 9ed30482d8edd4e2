"""What is drawn of a transfer: a cell for each source and target."""

import matplotlib.figure

from racl_tf.attacks import fgsm
from racl_tf.evaluation import Transfer
from racl_tf.reporting import plot_transfer


def test_cells_show_accuracies_and_axes_show_names(tmp_path, monkeypatch) -> None:
    figures = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: figures.append(self))
    result = Transfer({"clean": {"a": 9, "b": 8}, "vgg": {"a": 1, "b": 5}}, 10, fgsm(0.1), seed=4)
    plot_transfer(result, tmp_path / "transfer.png")
    axes = figures[0].axes[0]
    assert axes.images[0].get_array().tolist() == [[90, 80], [10, 50]]
    assert [text.get_text() for text in axes.texts] == ["90.0", "80.0", "10.0", "50.0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clean", "vgg"]
