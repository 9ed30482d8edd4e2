"""Image classifiers. Importing this package makes all of them known to `keras.saving.load_model`."""

from racl_tf.networks.densenet import DenseNet121
from racl_tf.networks.ensemble import Ensemble
from racl_tf.networks.genotype_network import GenotypeNetwork
from racl_tf.networks.image_network import ImageNetwork
from racl_tf.networks.l2_nonexpansive import L2Nonexpansive
from racl_tf.networks.loading import load_network
from racl_tf.networks.pretrained import from_pretrained, pretrained_description, save_pretrained
from racl_tf.networks.pytorch import from_pytorch, read_state_dict, to_pytorch
from racl_tf.networks.registry import NETWORKS, make_network, network_options
from racl_tf.networks.resnet import ResNet18
from racl_tf.networks.robnet import RobNet
from racl_tf.networks.supernet import Supernet
from racl_tf.networks.vgg import VGG19

__all__ = [
    "NETWORKS",
    "VGG19",
    "DenseNet121",
    "Ensemble",
    "GenotypeNetwork",
    "ImageNetwork",
    "L2Nonexpansive",
    "ResNet18",
    "RobNet",
    "Supernet",
    "from_pretrained",
    "from_pytorch",
    "load_network",
    "make_network",
    "network_options",
    "pretrained_description",
    "read_state_dict",
    "save_pretrained",
    "to_pytorch",
]
