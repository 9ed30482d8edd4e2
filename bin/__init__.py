"""The programs, installed as racl-search, racl-train, racl-evaluate, racl-export and racl-quickstart."""
