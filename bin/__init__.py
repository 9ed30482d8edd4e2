"""The programs, installed as racl-search, racl-train, racl-evaluate and so on."""
