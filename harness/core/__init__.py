"""The contract: all that an adapter may import of `harness`."""
