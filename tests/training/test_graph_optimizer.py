"""Steps whose graphs run as they were traced."""

import pytest
import tensorflow as tf

from racl_tf.training.graph_optimizer import without_graph_optimizer


def is_off() -> bool:
    return tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]


def test_the_optimizer_is_off_during_a_step_alone() -> None:
    assert not is_off()
    assert without_graph_optimizer(lambda: is_off())()
    assert not is_off()


def test_it_is_as_it_was_after_a_step_that_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        without_graph_optimizer(lambda: 1 // 0)()
    assert not is_off()


def test_it_stays_off_where_it_was_off() -> None:
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        without_graph_optimizer(lambda: None)()
        assert is_off()
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def test_it_is_left_on_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not without_graph_optimizer(is_off)()
