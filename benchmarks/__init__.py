"""Programs that measure how fast racl_tf is, each beside something that it can be compared with; see README.md."""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the programs have it
