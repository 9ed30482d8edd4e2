"""Programs that measure how fast racl_tf is, each beside something that it can be compared with; see README.md."""
