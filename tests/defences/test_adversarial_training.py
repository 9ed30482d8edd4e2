"""Plain, PGD and fast adversarial training: which images, and which loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from racl_tf.attacks import image_seeds
from racl_tf.defences import Defence, fgsm_rs, make_defence, pgd, plain
from racl_tf.networks.genotype_network import GenotypeNetwork

SEEDS = image_seeds(tf.constant([1, 2]), tf.range(4))
LABELS = tf.constant([0, 1, 1, 0])


def linear() -> keras.Model:
    """Logits 3x of two pixels x: CE's gradient in x has the signs (-, +) for label 0 and (+, -) for label 1."""
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, kernel_initializer=keras.initializers.Identity(3.0), use_bias=False)]
    )


def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).uniform(0.3, 0.7, [4, 2]), tf.float32)


def cross_entropy(x: np.ndarray) -> float:
    logits = 3 * np.asarray(x, np.float64)
    return float(np.mean(np.log(np.exp(logits).sum(-1)) - logits[np.arange(4), LABELS]))


@pytest.mark.parametrize(
    ("defence", "shift"),
    [
        (plain(), 0.0),
        (pgd(eps=0.1, step_size=0.05, steps=5), 0.1),
        (make_defence("pgd", eps=0.1, step_size=0.05, steps=5), 0.1),
    ],
    ids=["none", "pgd", "make_attack"],
)
def test_loss_is_the_cross_entropy_at_the_corner_of_the_ball(defence: Defence, shift: float) -> None:
    """Where five steps of half a radius end on a linear model, wherever they started."""
    up = np.where(LABELS[:, None] == 0, [-1, 1], [1, -1])
    truth = cross_entropy(images() + shift * up)
    loss, logits = defence.objective(linear(), images(), LABELS, SEEDS)
    assert float(loss) == pytest.approx(truth, rel=1e-5)
    np.testing.assert_allclose(logits, 3 * (images() + shift * up), rtol=1e-5)


def test_fgsm_rs_is_one_step_of_five_quarters_eps_from_a_uniform_start() -> None:
    """From d uniform in [-eps, eps] to the sign's side: to eps where d > -eps / 4, else to d + 1.25 eps."""
    count, eps = 20_000, 0.1
    x = tf.fill([count, 2], 0.5)
    attack = fgsm_rs(eps=eps).attack
    assert attack is not None
    seeds = image_seeds(tf.constant([1, 2]), tf.range(count))
    moved = attack.perturb(linear(), x, tf.zeros(count, tf.int32), seeds).numpy()
    assert (np.abs(moved - x) <= eps + 1e-6).all()
    delta = moved[:, 1] - 0.5
    inside = delta < eps - 1e-6
    assert inside.mean() == pytest.approx(3 / 8, abs=0.02)
    assert delta.min() == pytest.approx(eps / 4, abs=1e-3)
    assert delta[inside].mean() == pytest.approx(5 / 8 * eps, abs=2e-3)


def test_auxiliary_head_adds_its_loss() -> None:
    network = GenotypeNetwork("racl", channels=4, cells=3, input_shape=(8, 8, 1), auxiliary=True)
    x = np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
    losses = [plain(auxiliary_weight=weight).objective(network, x, LABELS, SEEDS)[0] for weight in (0.0, 0.4, 1.0)]
    _, auxiliary = network(x, training=True, auxiliary=True)
    truth = -tf.reduce_mean(tf.gather(tf.nn.log_softmax(auxiliary), LABELS, batch_dims=1))
    assert float(losses[1] - losses[0]) == pytest.approx(0.4 * float(truth), rel=1e-4)
    assert float(losses[2] - losses[0]) == pytest.approx(float(truth), rel=1e-4)
