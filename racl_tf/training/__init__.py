"""The search, adversarial training, and the callbacks that log, stop and resume them."""
