"""The measurers measured: every number's second witness."""
