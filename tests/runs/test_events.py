"""What TensorBoard is told, read back from its files."""

import math
import pathlib

import keras
import pytest
import tensorflow as tf
from ml_collections import ConfigDict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from racl_tf.networks.supernet import Supernet
from racl_tf.runs.events import SearchEvents
from racl_tf.search.confidence_constraint import ConfidenceConstraint
from racl_tf.search.log_normal_architecture import LogNormalArchitecture
from racl_tf.search.racl_search import RACLSearch


@pytest.fixture(scope="module")
def search() -> RACLSearch:
    supernet = Supernet(10, channels=4, cells=1, input_shape=(8, 8, 1))
    search = RACLSearch(supernet, LogNormalArchitecture(sigma=0.2), ConfidenceConstraint())
    search.compile(run_eagerly=True)
    return search


def test_events_of_a_search(search: RACLSearch, config: ConfigDict, tmp_path: pathlib.Path) -> None:
    config.search.epochs = 24
    callbacks = keras.callbacks.CallbackList([SearchEvents(tmp_path / "events", config)], model=search)
    callbacks.on_train_begin()
    for epoch in range(24):
        warm = epoch < 3
        callbacks.on_epoch_begin(epoch)
        logs = {"loss": 2.0 - epoch / 24, "constraint": math.nan if warm else -0.1 * epoch, "sigma_alpha": 0.2}
        callbacks.on_epoch_end(epoch, logs | {"theta": math.nan if warm else 0.5})
    callbacks.on_train_end()
    events = EventAccumulator(str(tmp_path / "events/train"), size_guidance={"tensors": 0}).Reload()
    scalars = {
        name: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]
        for name in ("epoch_loss", "epoch_constraint", "epoch_theta", "epoch_sigma_alpha")
    }
    assert len(scalars["epoch_loss"]) == len(scalars["epoch_sigma_alpha"]) == 24
    assert [step for step, _ in scalars["epoch_constraint"]] == list(range(3, 24))
    assert scalars["epoch_constraint"][-1][1] == pytest.approx(-2.3)
    assert {value for _, value in scalars["epoch_theta"]} == {0.5}
    for name in ("cells", "mu"):
        pictures = events.Tensors(name)
        assert [event.step for event in pictures] == [2, 5, 8, 11, 14, 17, 20, 23]
        width, height, png = tf.make_ndarray(pictures[-1].tensor_proto)
        shape = tf.io.decode_png(png).shape
        assert (shape[1], shape[0]) == (int(width), int(height))
        assert len(set(tf.reshape(tf.io.decode_png(png), [-1]).numpy())) > 20  # something is drawn
    data = plugin_data_pb2.HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    settings = data.session_start_info.hparams
    assert settings["search.epochs"].number_value == 24
    assert settings["search.mode"].string_value == "racl"
    assert settings["search.scale_free"].bool_value is False
    assert settings["data.image_size"].string_value == "not given"
    assert "train.epochs" not in settings
