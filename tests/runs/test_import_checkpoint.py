"""A checkpoint of PyTorch becomes a folder whose network gives the same logits."""

import pathlib

import numpy as np
import pytest

from racl_tf import from_pretrained
from racl_tf.errors import UsageError
from racl_tf.networks import make_network, to_pytorch
from racl_tf.runs.import_checkpoint import run_import

safetensors = pytest.importorskip("safetensors.numpy")


def test_a_checkpoint_is_imported(tmp_path: pathlib.Path) -> None:
    network = make_network("racl", 3, channels=4, cells=1, input_shape=(8, 8, 3), mean=0.5, std=(0.2, 0.25, 0.3))
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
    checkpoint, out = str(tmp_path / "model.safetensors"), str(tmp_path / "imported")
    safetensors.save_file(to_pytorch(network), checkpoint)
    path, summary = run_import(checkpoint, "racl", out, mean="0.5", std="0.2,1/4,0.3", image_size=8)
    np.testing.assert_array_equal(from_pretrained(path)(images), network(images))
    assert "1 cells of 4 channels, 3 classes" in summary
    assert "by the mean 0.5, 0.5, 0.5 and the standard deviation 0.2, 0.25, 0.3" in summary
    with pytest.raises(UsageError, match=r"imported': it exists\. Remove it or choose another folder"):
        run_import(checkpoint, "racl", out)
    with pytest.raises(UsageError, match=r"Received --mean=grey\. Give numbers with commas"):
        run_import(checkpoint, "racl", out + "2", mean="grey")
    with pytest.raises(UsageError, match="Unknown genotype 'rcl'"):
        run_import(checkpoint, "rcl", out + "2")


def test_the_program_says_what_is_wrong_in_one_paragraph(run, tmp_path: pathlib.Path) -> None:
    result = run("import_", str(tmp_path / "missing.pt"), "--genotype=racl", f"--out={tmp_path}/imported")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: There is no file")
    assert not (tmp_path / "imported").exists()
