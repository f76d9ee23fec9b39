"""What `harness` hands on."""
