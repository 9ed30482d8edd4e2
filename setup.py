"""Installs the library, its programs (racl-search, ...) and its configurations."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'"(.+)"', (HERE / "racl_tf/version.py").read_text().split("__version__")[1])

HOME = "https://github.com/racl-tf/racl_tf"

# The programs and configurations live at the top level of the repository and are
# installed inside the package, so that they are there without a checkout too.
PLACES = {"racl_tf.bin": "bin", "racl_tf.configs": "configs"}

setup(
    name="racl_tf",
    version=VERSION.group(1),  # type: ignore[union-attr]
    description="Search, train, attack and export adversarially robust neural architectures (RACL).",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="racl_tf contributors",
    license="Apache-2.0",
    url=HOME,
    project_urls={
        "Source": HOME,
        "Documentation": f"{HOME}/tree/main/docs",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
        "Issues": f"{HOME}/issues",
        "Paper": "https://arxiv.org/abs/2009.00902",
    },
    keywords=[
        "adversarial attacks",
        "adversarial robustness",
        "adversarial training",
        "keras",
        "lipschitz constant",
        "neural architecture search",
        "tensorflow",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["racl_tf", "racl_tf.*"]) + list(PLACES),
    package_dir={"racl_tf": "racl_tf", **PLACES},
    package_data={"racl_tf": ["py.typed", "data/*.csv.gz", "space/*.json", "evaluation/*.json", "reporting/*.jinja"]},
    install_requires=[
        "absl-py>=2.0",
        "Jinja2>=3.1",
        "filelock>=3.13",
        "importlib_resources",  # tensorflow-datasets imports it without declaring it
        "keras>=3.13.2",  # those before run code of models in safe mode (.h5, TFSMLayer) or read files they name
        "markupsafe>=2.1",
        "matplotlib>=3.8",
        "ml_collections>=1.0",
        "numpy>=1.26",
        "pillow>=10",
        "rich>=13",
        "scipy>=1.11",
        "tensorboard>=2.18",
        "tensorflow>=2.18",
        "tensorflow-datasets>=4.9.7",
        "tensorflow-probability>=0.25",
        "tf_keras>=2.18",  # tensorflow-probability imports it beside Keras 3
        "tqdm>=4.66",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "onnx": ["onnxruntime>=1.18", "tf2onnx>=1.17"],  # tf2onnx before that fails with NumPy 2
        "litert": ["ai-edge-litert>=1.0"],
        "torch": ["safetensors>=0.4"],  # torch itself only for .pt files
        "hub": ["huggingface_hub>=0.23"],
        "slurm": ["submitit>=1.5"],
        "test": [
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "jsonschema>=4.20",
            "mypy>=1.10",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "scipy>=1.12",  # with isotonic regression
        ],
        "docs": [
            "latex2mathml>=3.77",
            "mkdocs-jupyter>=0.25",
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=0.26",
            "ruff>=0.6",  # formats signatures
        ],
    },
    entry_points={
        "console_scripts": [
            f"racl-{program.rstrip('_')} = racl_tf.bin.{program}:run"
            for program in (
                "search",
                "train",
                "evaluate",
                "sweep",
                "transfer",
                "export",
                "import_",  # a module cannot be called `import`
                "quickstart",
                "reproduce",
                "study",
                "choose",
                "report",
                "draw",
                "verify",
                "rerun",
            )
        ]
    },
)
