"""The names of all files and folders of a run: what a --workdir holds, and where."""

# The folder of each step.
SEARCH = "search"  # the searched architecture, and how it came about
CHOOSE = "choose"  # the most robust architecture of those sampled from the search
TRAIN = "train"  # the trained network, and how its training went
EVALUATE = "evaluate"  # what became of each test image under each attack
SWEEP = "sweep"  # robust accuracy over the radius and over the steps
TRANSFER = "transfer"  # images crafted on some models and shown to others
SAVED_MODEL = "saved_model"  # the exported network, which plain TensorFlow serves
PRETRAINED = "pretrained"  # the same, which this library loads
ONNX = "onnx"  # the same, which ONNX Runtime serves
LITERT = "litert"  # the same, which LiteRT serves
TORCH = "torch"  # its weights by the names of PyTorch's public code

# In a folder from which a trained network is loaded again, and beside every export.
NETWORK = "network.keras"  # the network itself
DESCRIPTION = "network.json"  # what it is, what it is for, and how it fared

MODEL_CARD = "README.md"  # the same for people, as the Hugging Face Hub shows it
ONNX_MODEL = "model.onnx"  # in `onnx`
LITERT_MODEL = "model.tflite"  # in `litert`
TORCH_MODEL = "model.safetensors"  # in `torch`

# In the folders of several steps.
CONFIG = "config.json"  # the settings that the folder stands for
VERSIONS = "versions.json"  # the libraries and the machine that it was begun with
DATA = "data.json"  # a digest of the user's own images that it was begun with
CHECKPOINTS = "checkpoints"  # the whole state after the last finished epoch, a folder
EVENTS = "events"  # what TensorBoard shows, a folder
HISTORY = "history.csv"  # what every epoch logged
GENOTYPE = "genotype.json"  # the architecture that was searched, chosen or trained
GENOTYPE_PICTURE = "genotype.png"  # the same, drawn
RESULTS = "results.json"  # the figures, with what they were measured by
OUTCOMES = "outcomes.npz"  # what became of each image, from which an evaluation goes on
ADVERSARIAL = "adversarial.npz"  # what the strongest attack made of the images that fell, the first of them whole
CORRUPTIONS = "corruptions.csv"  # how many images are classified correctly under each corruption, by severity
BUNDLE = "bundle"  # adversarial images of all that fell, by which anyone recounts the figures, a folder
BUNDLE_IMAGES = "images.npz"  # in it: the clean and the adversarial images, and what they are taken for
CHECKSUMS = "SHA256SUMS"  # in it: the SHA-256 of its files, which sha256sum checks
ROBUSTBENCH = "robustbench.json"  # the entry of an evaluation in that leaderboard
REPORT = "report.html"  # all of the run on one page, in its folder
IMAGES = "images.csv"  # the same by the names of the images' files, where they are from files

# In `search`.
STEPS = "steps.csv"  # the constraint and the dual variable at every step
ARCHITECTURE = "architecture.jsonl"  # the genotype and how the architecture moved, a line for every epoch
SUMMARY = "summary.json"  # how far the architecture moved, and whether the constraint meant anything
SEARCH_PICTURE = "search.png"  # all of this as curves and heat maps

# In `choose`.
SAMPLING = "choice.json"  # the sampled architectures with their figures
SAMPLING_TEXT = "choice.txt"  # the same as tables

# In `train`.
BEST_NETWORK = "best.keras"  # the network of the best epoch
FINISHED = "finished.json"  # which epoch that is; there once the training is finished
TRAIN_PICTURE = "train.png"  # how the epochs went, as curves

# In `sweep`, besides a table for each curve.
SWEEP_STEPS = "steps"  # the outcomes of the sweep over steps, a folder; those over eps have their attacks' names
EPS_PICTURE = "eps.png"  # the curves over the radius
STEPS_PICTURE = "steps.png"  # the curves over the steps

# In `transfer`.
TRANSFER_TABLE = "transfer.csv"  # the figures, a row for each source and target
TRANSFER_PAGE = "transfer.md"  # the same, a row for each source
TRANSFER_PICTURE = "transfer.png"  # the same as a heat map

# In the folder of a reproduction or a study, besides the pages of the paper's tables and figures.
PARTS = "parts"  # everything that is searched, trained and attacked, which both share
STUDY_PAGE = "study.md"  # the study's tables
STUDY = "study.json"  # its figures
SPREAD_PAGE = "spread.md"  # how much of accuracies' spread lies between cells
SPREAD = "spread.json"  # its figures
JOB_LOGS = "job_logs"  # of the jobs of a cluster, a folder
STUDY_PICTURE = "study.png"  # the same, drawn

# In `parts`: folders that are named after all settings that they depend on.
SEARCHES = "searches"  # each of a search
NETWORKS = "networks"  # each of a training, and of what was measured of the network
RANDOM_CELLS = "random_cells"  # random cells that a spread is measured on
GIVEN = "given"  # each of what was measured of a user's own trained network
ATTACKS = "attacks"  # in those of networks: the evaluations
TRANSFERS = "transfers"  # the transfers, of which the network is the source
SWEEPS = "sweeps"  # the sweeps
FIGURES = "figures_seed{seed}.json"  # the bounds of the network's Lipschitz constant on a seed's images
